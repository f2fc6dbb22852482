"""KV packers: the words of golden pages, whatever the stalls and the codings of the pages before.

One bench for both: the wide packer takes W codes a beat, the lane packer a few.
"""

import random
from typing import Any

import cocotb

from hw.config import Config
from hw.kv.payloads import code_beat, coded_word
from sim import context
from sim.benches.kv import codec_stories as stories
from sim.benches.kv.coded_pages import NAMES, CodecBench, CodedPage
from sim.spacing import SPACINGS
from sim.streams import SITUATIONS, Domain, reset

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.memory_bits
LANES = context.parameters()["lanes"]
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]
LIMIT = 4_000_000

plans = stories.CodecPlans("kv_packer" if LANES == WIDTH else "kv_lane_packer")


def bench_of(domain: Domain, stalls: str) -> CodecBench:
    """Codes in, words out."""
    codes = ("beats", code_beat(LANES), lambda page: page.code_beats(LANES))
    return CodecBench(domain, stalls, WIDTH, codes, ("words", coded_word(WIDTH), CodedPage.word_beats))


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def pages(dut: Any, stalls: str) -> None:
    """Pages of all codings back to back."""
    await stories.every_coding(bench_of(await reset(dut, LIMIT), stalls), plans, stalls, PAGES)


@cocotb.test()
@cocotb.parametrize(name=stories.FLOWS)
async def full_throughput(dut: Any, name: str) -> None:
    """Without stalls n words of W codes a beat come in n cycles, n beats of fewer codes go in n cycles."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
    if LANES == WIDTH:
        await stories.flow(bench, plans, name, FLOWING_WORDS, lambda page: len(page.words), bench.arrivals)
    else:
        beats = bench.departures
        await stories.flow(bench, plans, name, FLOWING_WORDS, lambda page: len(page.codes) // LANES, beats)


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def wrong_pages(dut: Any, spacing: str) -> None:
    """After pages of any length, of a reserved coding or with codes out of range the next one is intact."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
    await stories.recover(bench, lambda: {"codes": [random.randrange(256) for _ in range(LANES)]}, spacing)


@cocotb.test()
@cocotb.parametrize(name=NAMES)
async def reset_forgets(dut: Any, name: str) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
    total = 2 * bench.shortest // LANES
    lengths = range(1, total, max(1, total // 16))
    await stories.forget(bench, name, lengths, lambda beats: bench.domain.cycles(beats + 3))
