"""Rescaler: golden results of every block under any stalls, promises kept, and no idle cycle."""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden.weights.packet import OUTPUTS
from hw import payloads
from hw.config import Config
from hw.pe import rescaler
from hw.pe.array import CAPTURE_LATENCY
from sim import context
from sim.benches.pe.row_blocks import RowBlock
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.stalls import Pattern, bursts
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
LATENCY = rescaler.latency(config)
LONGEST = config.numerics.maximum_groups
"""Whole groups of the longest vector."""

BLOCKS: int = context.parameters()["blocks"]
ROOMS = ("none", "buffer")
FLAGS = (False, True)
coverage = Coverage("rescaler", {"stalls": SITUATIONS, "room": ROOMS, "offset": FLAGS})
coverage_block = Coverage("rescaler_block", {"output": OUTPUTS, "format": ("fp16", "bf16"), "offset": FLAGS})
coverage_rate = Coverage("rescaler_rate", {"room": ROOMS})
errors = ErrorPlan("rescaler")
coverage_promise = Coverage(
    "rescaler_promise", {"room": ROOMS, "final": FLAGS}, lambda room, final: final and room == "none"
)


def random_block(offset: bool, groups: int, extreme: bool = False, overflows: bool = False) -> RowBlock:
    """A row block, counted for coverage."""
    block = RowBlock(config, offset, groups, extreme, overflows)
    coverage_block.hit(output=block.output, format=block.activations, offset=offset)
    return block


class Promise:
    """Checks that dots are taken within ``CAPTURE_LATENCY`` cycles of a promise, and notes when they are."""

    def __init__(self, domain: Domain, room: str) -> None:
        self.domain, self.room = domain, room
        self.taken: dict[int, bool] = {}  # cycle to whether it was promised
        names = ("promise", "dots_valid", "dots_ready", "dots_payload")
        self._promise, self._valid, self._ready, self._payload = (domain.reader(name) for name in names)
        self._final_place = domain.width("dots_payload") - 1
        self._deadline: int | None = None
        domain.add(self)

    def step(self) -> None:
        """Look at one cycle."""
        cycle = self.domain.cycle
        if self._promise() and self._deadline is None:
            self._deadline = cycle + CAPTURE_LATENCY - 1
            coverage_promise.hit(room=self.room, final=bool(self._payload() >> self._final_place))
        if self._valid() and self._ready():
            self.taken[cycle] = self._deadline is not None
            self._deadline = None
        elif self._deadline is not None and cycle >= self._deadline:
            raise AssertionError(f"promise broken in cycle {cycle}")

    def restart(self) -> None:
        """Forget the promise."""
        self._deadline = None

    def status(self) -> str:
        """For the report of a hang."""
        return f"promise: {len(self.taken)} dots taken, {sum(self.taken.values())} of them promised"


class Bench:
    """Sources and sink; with room ``buffer`` a result buffer like the tile's stands behind the rescaler."""

    def __init__(self, domain: Domain, stalls: str, room: str, depth: int | None = None) -> None:
        where = situation(stalls)
        self._depth = depth or random.randint(1, 4 * config.slots)
        late = bursts(60) if stalls in ("source_slow", "both_bursts") else where.source
        shapes = {
            "dots": payloads.dots(config),
            "scales": payloads.group_scales(config),
            "summaries": payloads.summary(config),
            "channels": payloads.channels(config),
        }
        self.domain, self.promise = domain, Promise(domain, room)
        self.sources = {
            name: StreamSource(domain, name, shape, late if name == "channels" else where.source)
            for name, shape in shapes.items()
        }
        self.beats: deque[tuple[int, int]] = deque()
        self.arrivals: list[int] = []
        self._level, self._overflow = 0, domain.reader("overflow")
        buffered = room == "buffer"
        self.sink = StreamSink(
            domain,
            "results",
            payloads.result(config),
            self._buffer(where.sink) if buffered else where.sink,
            where.sink_waits and not buffered,
            self._observe,
        )

    def _observe(self, bits: int) -> None:
        self.beats.append((bits, self._overflow()))
        self.arrivals.append(self.domain.cycle)
        self._level += 1

    def _buffer(self, drain: Pattern) -> Pattern:
        """Full or not: a buffer that another consumer drains with its own stalls."""
        depth, write = self._depth, self.domain.writer("room")

        def pattern(rng: random.Random) -> Iterator[bool]:
            for stalled in drain(rng):
                self._level -= self._level > 0 and not stalled
                write(depth - self._level)
                yield self._level >= depth

        return pattern

    def send(self, block: RowBlock, channels: bool = True) -> None:
        """Queue one block, its output scales only with ``channels``."""
        self.sources["dots"].send_all(block.dot_beats())
        self.sources["scales"].send_all(block.scale_beats())
        self.sources["summaries"].send_all(block.summary_beats())
        if channels:
            self.sources["channels"].send(block.channel_beat())

    async def check(self, blocks: list[RowBlock]) -> None:
        """Wait for all results and compare them."""
        await self.sink.wait_for(sum(-(-block.count // config.rescale_units) for block in blocks))
        await self.domain.cycles(2 * rescaler.latency(config))
        beats = ((self.sink.codec.unpack(bits), overflow) for bits, overflow in self.beats)
        for block in blocks:
            block.check(beats)
        assert next(beats, None) is None
        errors.reported({"overflow": sum(overflow for _, overflow in self.beats)})


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS, room=ROOMS)
async def any_blocks(dut: Any, stalls: str, room: str) -> None:
    """Blocks of all kinds and lengths back to back."""
    domain = await reset(dut, cycle_limit=100_000)
    bench = Bench(domain, stalls, room)
    kinds = [number % 2 == 0 for number in range(BLOCKS)]
    random.shuffle(kinds)
    blocks = [random_block(offset, random.choice((1, 1, 2, random.randint(1, LONGEST)))) for offset in kinds]
    for block in blocks:
        bench.send(block)
        coverage.hit(stalls=stalls, room=room, offset=block.offset)
    await bench.check(blocks)


@cocotb.test()
@cocotb.parametrize(offset=FLAGS)
async def largest_sums(dut: Any, offset: bool) -> None:
    """As many groups as there can be, all of the largest numbers, do not overflow the accumulators."""
    domain = await reset(dut, cycle_limit=100_000)
    bench = Bench(domain, "free_running", "buffer")
    blocks = [random_block(offset, LONGEST, extreme=True) for _ in range(3)]
    for block in blocks:
        bench.send(block)
    await bench.check(blocks)


@cocotb.test()
async def overflow(dut: Any) -> None:
    """Results that are too large for their format are reported, those of their neighbours are not."""
    domain = await reset(dut, cycle_limit=100_000)
    bench = Bench(domain, "free_running", "buffer")
    blocks = [random_block(False, 1, extreme=large, overflows=large) for large in (False, True) * 3]
    assert all(block.overflows.all() for block in blocks[1::2])
    for block in blocks:
        bench.send(block)
    await bench.check(blocks)


@cocotb.test()
@cocotb.parametrize(room=ROOMS)
async def exact_cycles(dut: Any, room: str) -> None:
    """Block after block a group takes a cycle a slot and pass, and results come with the stated latency.

    With room, every group of more than one turn is promised, the last one of a block included. Without,
    results under way may yet be stalled, and those of a block's last group will be. Results that a short
    block does not have stand in nobody's way.
    """
    domain = await reset(dut, cycle_limit=10_000)
    bench = Bench(domain, "free_running", room, depth=4 * config.slots)
    shortest = -(-LATENCY // config.slots)  # groups of a block that outlast the results before it
    groups = [shortest + more for more in (1, 0, 0, 2, 0, 1, 0)]
    blocks = [random_block(number % 3 == 1, count) for number, count in enumerate(groups)]
    for number, block in enumerate(blocks):
        block.count = 1 if number in (1, 3) else config.rows
        bench.send(block)
    await bench.check(blocks)
    turns = np.array([config.turns(block.offset) for block in blocks for _ in range(block.groups)])
    taken, promised = np.array(list(bench.promise.taken)), np.array(list(bench.promise.taken.values()))
    assert (np.diff(taken) == turns[1:]).all(), taken
    ends = np.cumsum(groups) - 1
    arrivals = iter(bench.arrivals)
    for block, end in zip(blocks, taken[ends], strict=True):
        beats = -(-block.count // config.rescale_units)
        passes = np.arange(config.slots)[::-1] * (config.turns(block.offset) // config.slots)
        seen = list(itertools.islice(arrivals, beats))
        assert seen == (end + LATENCY - passes[:beats]).tolist()
    wanted = turns > 1
    if room == "none":
        results = np.repeat([-LATENCY, *taken[ends[:-1]]], groups) + LATENCY
        wanted &= taken > results + 2
        wanted[ends] = False
    assert (promised == wanted).all(), (taken, promised, wanted)
    coverage_rate.hit(room=room)


@cocotb.test()
async def reset_in_a_block(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    domain = await reset(dut, cycle_limit=100_000)
    for _ in range(4):
        bench = Bench(domain, "free_running", "none")
        for _ in range(4):
            bench.send(random_block(random.random() < 0.5, 3))
        await domain.cycles(random.randint(5, 60))
        await domain.reset()
        bench = Bench(domain, "free_running", "none")
        blocks = [random_block(offset, 2) for offset in FLAGS]
        for block in blocks:
            bench.send(block)
        await bench.check(blocks)
        await domain.reset()


@cocotb.test()
async def late_channels(dut: Any) -> None:
    """Output scales that come long after their groups: no promise counts on them."""
    domain = await reset(dut, cycle_limit=20_000)
    bench = Bench(domain, "free_running", "buffer")
    blocks = [random_block(False, random.choice((1, 1, 2))) for _ in range(BLOCKS)]
    for block in blocks:
        bench.send(block, channels=False)
    for block in blocks:
        await domain.cycles(random.randint(1, 40))
        bench.sources["channels"].send(block.channel_beat())
    await bench.check(blocks)
