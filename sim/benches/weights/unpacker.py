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


class Reading:
    """The cycles that reading takes without stalls, counted in granules of the words as documented."""

    def __init__(self, config: Config, packet: Packet) -> None:
        self.config, self.packet = config, packet
        self.word = config.memory_bits // config.rows
        self.position = HEADER_BITS // config.rows
        self.chunk = packet.chunk_bits // config.rows
        self.takes = -(-self.chunk // self.word)
        columns = {name: bits // config.rows for name, bits in packet.group_fields(packet.group)}
        self.selector, _ = columns.pop("selector", 0), columns.pop("codes")
        self.scales = sum(columns.values())
        self.may_be_one = packet.dtype.term_count < self.takes == 2 and self.chunk < 2 * self.word

    def _take(self, granules: int) -> int:
        self.position += granules
        return 1

    def _at_hand(self, granules: int) -> bool:
        return self.position % self.word + granules < 2 * self.word

    def _codes(self) -> int:
        """A chunk that is not its group's last one."""
        if self.may_be_one and self._at_hand(self.chunk):
            return self._take(self.chunk)
        cycles = sum(self._take(self.word) for _ in range(self.takes - 1))
        return cycles + self._take(self.chunk - (self.takes - 1) * self.word)

    def _last_codes(self, metadata: int) -> tuple[int, int]:
        """A group's last chunk, then metadata that did not come with it."""
        if self.may_be_one and self._at_hand(self.chunk + metadata):
            return self._take(self.chunk + metadata), 0
        cycles = sum(self._take(self.word) for _ in range(self.takes - 1))
        rest = self.chunk - (self.takes - 1) * self.word
        if self._at_hand(rest + metadata):
            return cycles + self._take(rest + metadata), 0
        cycles += self._take(rest)
        if self.word < metadata <= 2 * self.word and self._at_hand(metadata):
            return cycles, self._take(metadata)
        parts = [min(self.word, metadata - start) for start in range(0, metadata, self.word)]
        return cycles, sum(map(self._take, parts))

    def blocks(self) -> Iterator[list[tuple[list[int], int]]]:
        """Of every group of a row block the cycles of each chunk, and of metadata that come alone."""
        packet = self.packet
        self._take(self.selector)
        for block in range(packet.blocks):
            groups = []
            for group in range(packet.groups):
                metadata = self.scales + self.selector
                if group == packet.groups - 1:
                    metadata = self.scales + 8 + self.selector * (block < packet.blocks - 1)
                chunks = [self._codes() for _ in range(self.config.chunks - 1)]
                last, alone = self._last_codes(metadata)
                groups.append(([*chunks, last], alone))
            yield groups


def head_cycles(config: Config, packet: Packet, takes: int) -> int:
    """Cycles from a packet's last window to the first chunk of the next one, which waits at the input."""
    load, offer, ask, check = 1, 2, 1, bits_for(config.chunks) + 2
    header = -(-HEADER_BITS // config.memory_bits)
    return load + header + check + offer + ask + bool(packet.dtype.selector_bits) + takes


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Without stalls chunks, row blocks and packets come as often as documented, and as fast as the words."""
    bench = await start(dut, "free_running")
    config = bench.config
    word = config.memory_bits // config.rows
    for dtype in config.types if context.parameters()["thorough"] else ("bitmod3", "bitmod4", "ternary"):
        q = random_weights(config, dtype, "int8", 3 * config.rows, 8 * config.group, config.group, False)
        for seen in bench.arrivals.values():
            seen.clear()
        packets = [bench.send_intact(q).packet for _ in range(2)]
        await bench.finish()
        reading = Reading(config, packets[0])
        blocks = list(reading.blocks())
        cycles = [sum(sum(chunks) + alone for chunks, alone in block) for block in blocks]
        first, _ = blocks[0][0]
        scales = np.split(np.array(bench.arrivals["scales"]), 2)
        chunks = np.array(bench.arrivals["chunks"]).reshape(2, -1, config.chunks)
        assert np.diff(chunks[0, 0]).tolist() == first[1:], dtype
        for number in range(2):
            between = np.diff(scales[number][packets[0].groups - 1 :: packets[0].groups])
            assert between.tolist() == cycles[1:], (dtype, number)
        head = head_cycles(config, packets[1], first[0])
        assert chunks[1, 0, 0] - scales[0][-1] == head - 1, dtype
        assert (chunks[1] - chunks[0] == chunks[1, 0, 0] - chunks[0, 0, 0]).all(), dtype
        if reading.chunk % word == 0 or reading.may_be_one:  # every window takes a word
            assert sum(cycles) <= packets[0].bits / config.memory_bits + 1, dtype
    for over in ("chunks", "row blocks", "packets"):
        coverage_rate.hit(over=over)


@cocotb.test()
async def reading_hides_behind_use(dut: Any) -> None:
    """A consumer two cycles slower than the reading never waits, whatever the metadata, in any row block."""
    config = config_of_run()
    domain = await reset(dut, 30_000)
    period = 2 + -(-config.lanes // (config.memory_bits // config.rows // 8))
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
