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
from amaranth.utils import bits_for

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

coverage_rate = Coverage("unpacker_rate", {"over": ("chunks", "row blocks", "packets", "use")})


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


def head_cycles(config: Config, packet: Packet, takes: int) -> int:
    """Cycles from a packet's last channels to the first chunk of the next one, which waits at the input."""
    load, offer, check = 1, 1, bits_for(config.chunks) + 2
    header = -(-HEADER_BITS // config.word_bits)
    return load + header + check + offer + bool(packet.dtype.selector_bits) + takes


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Without stalls chunks, row blocks and packets come as often as documented."""
    bench = await start(dut, "free_running")
    config = bench.config
    window = config.word_bits // config.rows
    for dtype in config.types if context.parameters()["thorough"] else ("bitmod4", "int5_asym", "ternary"):
        kind = datatypes.get(dtype)
        q = random_weights(config, dtype, "int8", 3 * config.rows, 8 * config.group, config.group, False)
        for seen in bench.arrivals.values():
            seen.clear()
        packets = [bench.send_intact(q).packet for _ in range(2)]
        await bench.finish()
        takes = -(-config.lanes // (window // kind.bits))
        if dtype == "ternary":
            takes = -(-packets[0].chunk_bits // config.word_bits)
        cycles = list(block_cycles(config, packets[0], takes))
        channels = np.split(np.array(bench.arrivals["channels"]), 2)
        chunks = np.array(bench.arrivals["chunks"]).reshape(2, -1, config.chunks)
        assert (np.diff(chunks[:, 0]) == takes).all(), dtype
        for number in range(2):
            assert np.diff(channels[number]).tolist() == cycles[1:], (dtype, number)
        assert chunks[1, 0, 0] - channels[0][-1] == head_cycles(config, packets[1], takes), dtype
        assert (chunks[1] - chunks[0] == chunks[1, 0, 0] - chunks[0, 0, 0]).all(), dtype
        if window == config.lanes * kind.bits:  # codes fill their words, so words are all that limits
            assert max(cycles) <= packets[0].block_bits / config.word_bits + 3, dtype
    for over in ("chunks", "row blocks", "packets"):
        coverage_rate.hit(over=over)


@cocotb.test()
async def reading_hides_behind_use(dut: Any) -> None:
    """A consumer two cycles slower than the reading never waits, whatever the metadata, in any row block."""
    config = config_of_run()
    domain = await reset(dut, 30_000)
    period = 2 + -(-config.lanes // (config.word_bits // config.rows // 8))
    accepting = [False] * (period - 1) + [True]
    bench = Bench(
        dut, domain, config, "free_running", lambda _: itertools.cycle(not yes for yes in accepting)
    )
    for dtype in ("int8", "bitmod4", "int6_asym"):
        before = len(bench.arrivals["chunks"])
        outputs, inputs = 3 * config.rows, 3 * config.group
        bench.send_intact(random_weights(config, dtype, "int8", outputs, inputs, config.group, False))
        await bench.finish()
        assert set(np.diff(bench.arrivals["chunks"][before:])) == {period}, dtype
    coverage_rate.hit(over="use")


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a packet leaves nothing behind."""
    bench = await start(dut, "free_running")
    q = some_weights(bench, "int8", "fp16", False)
    bench.send(bench.words_of(q)[:-1])
    bench.expect_header(Expected(bench.config, q))
    await bench.sinks["header"].wait_for(1)
    await bench.domain.reset()
    for name in bench.boards:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
    bench.send_intact(some_weights(bench, "int4", "int8", False))
    await bench.finish()
