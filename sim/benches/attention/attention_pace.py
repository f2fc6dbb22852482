"""Attention tile: cycles of a list of pages, by itself and among lists of its kind, without stalls.

Parameters: those of ``sim.benches.attention.attention_tile``; ``paces``, of each list queries, channels,
how much larger the keys of each run are than those before, and runs of pages: how many, and of keys
and values bits, axis and group.
"""

from typing import Any

import cocotb
import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from sim import context
from sim.benches.attention.attention_tile import CONFIG, LAGS, Attention, Bench, Pair
from sim.streams import reset


def attention(queries: int, channels: int, growth: float, *runs: list) -> Attention:
    """A list of runs of equal pages, of which only the first may move a maximum; none does if keys shrink."""
    tokens, rng = CONFIG.kv.page_tokens, np.random.default_rng(0)
    pairs = []
    for number, (count, *formats) in enumerate(runs):
        key, value = (
            PageLayout(Format("native", bits, axis, group), side, tokens, channels, CONFIG.rows, CONFIG.lanes)
            for side, (bits, axis, group) in zip(SIDES, formats, strict=True)
        )
        quantized = (
            key.format.quantize(
                (growth**number * rng.standard_normal((tokens, channels))).astype(np.float16)
            ),
            value.format.quantize(rng.standard_normal((tokens, channels)).astype(np.float16)),
        )
        pairs += [Pair((key, value), quantized, 0, tokens - 1)] * count
    q = rng.standard_normal((queries, channels)).astype(np.float16)
    return Attention(q, pairs, False)


@cocotb.test()
async def paces(dut: Any) -> None:
    """Each list by itself, from its first beat to its last output, and the third of five to the second.

    A list's sums may still be read while the keys of the second list after it are worked on.
    """
    domain = await reset(dut, cycle_limit=10_000_000)
    bench = Bench(domain, "free_running")
    for number, asked in enumerate(context.parameters()["paces"]):
        own, begins, ends = attention(*asked), domain.cycle, []
        for count in (1, 5):
            bench.send([own] * count, max(LAGS))
            for left in reversed(range(count)):
                await bench.sinks["outputs"].wait_for(bench.wanted["outputs"] - left * own.queries.size)
                ends.append(domain.cycle)
            await domain.cycles(200)
        dut._log.info(f"list {number}: {ends[0] - begins} cycles alone, {ends[3] - ends[2]} more")
    await bench.finish()
