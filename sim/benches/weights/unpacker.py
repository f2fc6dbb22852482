"""Unpacker: every beat that a packet's numbers call for, whatever the stalls and the packets before.

Expected beats come from ``sim.benches.weights.matrices``: from the numbers and the meaning of the payloads,
with nothing of the packed layout in between.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden.numbers import datatypes, scales
from golden.weights.packet import HEADER_BITS, OUTPUTS, Packet
from hw.config import Config
from sim import context
from sim.benches.weights.matrices import Expected, random_weights
from sim.benches.weights.unpacking import Bench, config_of_run, some_weights, start
from sim.coverage import Coverage
from sim.streams import SITUATIONS, reset

SCALES = tuple(entry.name for entry in scales.FORMATS)

coverage_types = Coverage("unpacker_types", {"dtype": datatypes.names(), "offset": (False, True)})
coverage_stalls = Coverage("unpacker_stalls", {"situation": SITUATIONS, "scale": SCALES})


@cocotb.test()
@cocotb.parametrize(offset=(False, True))
async def every_type(dut: Any, offset: bool) -> None:
    """Packets of all types and scale formats, back to back."""
    bench = await start(dut, "free_running")
    rounds = len(SCALES) if context.parameters()["thorough"] else 1
    for shift, (number, dtype) in itertools.product(range(rounds), enumerate(bench.config.types)):
        q = some_weights(bench, dtype, SCALES[(number + shift) % len(SCALES)], offset)
        bench.send_intact(q, OUTPUTS[number % len(OUTPUTS)], bool(number & 1))
        coverage_types.hit(dtype=dtype, offset=offset)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for scale in SCALES:
        for _ in range(3 if context.parameters()["thorough"] else 1):
            q = some_weights(bench, random.choice(bench.config.types), scale, random.random() < 0.5)
            bench.send_intact(q, random.choice(OUTPUTS), random.random() < 0.5)
            coverage_stalls.hit(situation=stalls, scale=scale)
        # One chunk a row block: every output is as busy as the chunks.
        rows, lanes = bench.config.rows, bench.config.lanes
        bench.send_intact(random_weights(bench.config, "int4_asym", scale, 6 * rows, lanes, lanes, False))
    await bench.finish()


def block_cycles(config: Config, packet: Packet, takes: int) -> Iterator[int]:
    """Cycles of each row block without stalls, counted in granules of the words as documented."""
    word = config.word_bits // config.rows
    group = {name: bits // config.rows for name, bits in packet.group_fields(packet.group)}
    selector, codes = group.pop("selector", 0), group.pop("codes")
    scale = sum(group.values())
    consumed = HEADER_BITS // config.rows
    for _ in range(packet.blocks):
        cycles = 1 + (selector > 0) + packet.groups * config.chunks * takes
        consumed += selector
        for number in range(packet.groups):
            last_codes = (
                packet.chunk_bits // config.rows - (takes - 1) * -(-config.lanes // takes) * packet.dtype.bits
            )
            if packet.dtype.name == "ternary":
                last_codes = packet.chunk_bits // config.rows - (takes - 1) * word
            consumed += codes
            following = selector if number < packet.groups - 1 else 0
            begin = (consumed - last_codes) % word
            if scale + selector > min(24, word):
                cycles += 1 + (following > 0)
            elif begin + last_codes + scale + following >= 2 * word:
                cycles += 1
            consumed += scale + following
        consumed += 8
        yield cycles


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Without stalls chunks and row blocks come as often as documented."""
    bench = await start(dut, "free_running")
    config = bench.config
    window = config.word_bits // config.rows
    for dtype in config.types if context.parameters()["thorough"] else ("bitmod4", "int5_asym", "ternary"):
        kind = datatypes.get(dtype)
        q = random_weights(config, dtype, "int8", 3 * config.rows, 8 * config.group, config.group, False)
        before = {name: len(seen) for name, seen in bench.arrivals.items()}
        expected = bench.send_intact(q)
        await bench.finish()
        chunks = bench.arrivals["chunks"][before["chunks"] :]
        channels = bench.arrivals["channels"][before["channels"] :]
        takes = -(-config.lanes // (window // kind.bits))
        if dtype == "ternary":
            takes = -(-expected.packet.chunk_bits // config.word_bits)
        cycles = list(block_cycles(config, expected.packet, takes))
        assert np.diff(chunks[: config.chunks]).tolist() == [takes] * (config.chunks - 1), dtype
        assert np.diff(channels).tolist() == cycles[1:], dtype
        if window == config.lanes * kind.bits:  # codes fill their words, so words are all that limits
            assert max(cycles) <= expected.packet.block_bits / config.word_bits + 3, dtype


@cocotb.test()
async def reading_hides_behind_use(dut: Any) -> None:
    """A consumer two cycles slower than the reading never waits within a row block, whatever the metadata."""
    config = config_of_run()
    domain = await reset(dut, 30_000)
    period = 2 + -(-config.lanes // (config.word_bits // config.rows // 8))
    accepting = [False] * (period - 1) + [True]
    bench = Bench(
        dut, domain, config, "free_running", lambda _: itertools.cycle(not yes for yes in accepting)
    )
    for dtype in ("int8", "bitmod4", "int6_asym"):
        before = len(bench.arrivals["chunks"])
        inputs = 3 * config.group
        bench.send_intact(random_weights(config, dtype, "int8", config.rows, inputs, config.group, False))
        await bench.finish()
        assert set(np.diff(bench.arrivals["chunks"][before:])) == {period}, dtype


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a packet leaves nothing behind."""
    bench = await start(dut, "free_running")
    q = some_weights(bench, "int8", "fp16", False)
    bench.send(bench.words_of(q)[:-1])
    bench.boards["header"].expect(Expected(bench.config, q).header)
    await bench.sinks["header"].wait_for(1)
    await bench.domain.reset()
    for name in bench.boards:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
    bench.send_intact(some_weights(bench, "int4", "int8", False))
    bench.wanted["header"] += 1
    await bench.finish()
