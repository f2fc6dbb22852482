"""Rescaler: golden results of every block under any stalls, promises kept, and no idle cycle."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden import floats, scales
from golden.packet import OUTPUTS
from golden.pe.output_converter import convert
from golden.pe.rescale import contribution, output_exponent
from golden.reach import reach
from hw import payloads
from hw.config import Config
from hw.pe import rescaler
from hw.pe.array import CAPTURE_LATENCY
from sim import context
from sim.coverage import Coverage
from sim.stalls import Pattern, bursts
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
BLOCKS: int = context.parameters()["blocks"]
ROOMS = ("none", "buffer")
FLAGS = (False, True)
coverage = Coverage("rescaler", {"stalls": SITUATIONS, "room": ROOMS, "offset": FLAGS})
coverage_block = Coverage("rescaler_block", {"output": OUTPUTS, "format": ("fp16", "bf16"), "offset": FLAGS})
coverage_promise = Coverage(
    "rescaler_promise", {"room": ROOMS, "final": FLAGS}, lambda room, final: final and room == "none"
)


class Block:
    """The groups of one row block with golden results.

    The numbers stay within what the widths guarantee; the extreme ones fill the accumulators to the brim.
    """

    def __init__(self, offset: bool, groups: int, extreme: bool = False) -> None:
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.offset, self.groups = offset, groups
        self.dtype, self.scale = random.choice(config.datatypes), random.choice(scales.FORMATS)
        self.reach = reach(config.group, config.activation_bits, self.dtype, self.scale, offset)
        self.output, self.activations = random.choice(OUTPUTS), random.choice(("fp16", "bf16"))
        self.count = random.randint(1, config.rows)
        self.last, self.error = random.getrandbits(1), random.getrandbits(1)
        self._draw_scales(extreme)
        self._draw_activations(extreme)
        self.patterns, self.overflows = self._results()
        coverage_block.hit(output=self.output, format=self.activations, offset=offset)

    def _draw(self, low: int, high: int, *shape: int) -> np.ndarray:
        return self.rng.integers(low, high + 1, shape)

    def _draw_scales(self, extreme: bool) -> None:
        """Mantissas, distances and zero points, ``[group, row]``."""
        shape, form = (self.groups, config.rows), self.scale
        half = (1 << self.dtype.bits - 1) * self.dtype.asymmetric
        top = (1 << form.significand_bits) - 1
        farthest = (1 << form.distance_bits) - 1
        self.mantissa = self._draw(min(form.mantissa_bits == 0, top), top, *shape)
        self.distance = self._draw(0, farthest, *shape) >> self._draw(0, 8, *shape)
        self.zero_point = self._draw(-half, half, *shape)
        self.offset_mantissa = self._draw(-2047, 2047, *shape)
        self.offset_distance = self._draw(0, 255, *shape) >> self._draw(0, 8, *shape)
        self.exponents = self._draw(-128, 127, config.rows) >> self._draw(0, 7, config.rows)
        if extreme:
            self.mantissa[:], self.zero_point[:], self.offset_mantissa[:] = top, half, 2047
            self.distance[:], self.offset_distance[:] = 0, 0

    def _draw_activations(self, extreme: bool) -> None:
        """Dot products ``[group, column, row]``; sums and distances ``[group, column]``; references."""
        groups, columns, rows = self.groups, config.columns, config.rows
        most = config.group * config.largest_activation
        highest = {"fp16": 30, "bf16": 254}[self.activations]
        self.sums = self._draw(-most, most, groups, columns) >> self._draw(0, 16, groups, columns)
        size = most * self.dtype.largest
        self.dots = self._draw(-size, size, groups, columns, rows)
        self.dots >>= self._draw(0, 20, groups, columns, rows)
        self.reference = self._draw(1, highest, columns)
        self.below = self._draw(0, highest - 1, groups, columns) % self.reference
        self.below >>= self._draw(0, 8, groups, columns)
        self.special = self._draw(0, 7, columns) == 0
        if extreme:
            sign = random.choice((-1, 1))
            self.dots[:], self.sums[:], self.below[:] = sign * size, sign * most, 0

    def _results(self) -> tuple[np.ndarray, np.ndarray]:
        """Golden patterns and overflows, ``[row, column]``."""
        numerics, sums, below = config.numerics, self.sums[:, :, None], self.below[:, :, None]
        operand = self.dots + self.zero_point[:, None] * sums
        far = below + self.distance[:, None]
        total = contribution(operand, self.mantissa[:, None], far, self.reach, numerics).sum(axis=0)
        if self.offset:
            far = below + self.offset_distance[:, None]
            extra = contribution(sums, self.offset_mantissa[:, None], far, self.reach, numerics)
            total += extra.sum(axis=0)
        assert np.abs(total).max() <= 1 << config.accumulator_bits - 1
        bias = floats.EXPONENT_BIAS[self.activations]
        exponent = np.stack(
            [output_exponent(self.exponents, int(one), bias, self.reach, numerics) for one in self.reference]
        )
        patterns, overflows = convert(total, exponent, self.special[:, None], self.output)
        return patterns.T, overflows.T

    def dot_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``dots``, each with a bias of its own."""
        for group, dots in enumerate(self.dots):
            bias = random.getrandbits(config.product_bits)
            shown = (dots + bias) % (1 << config.product_bits)
            yield {"dots": shown.tolist(), "bias": bias, "final": int(group + 1 == self.groups)}

    def scale_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``scales``."""
        names = ("scale", "scale_distance", "zero_point", "offset", "offset_distance")
        fields = (self.mantissa, self.distance, self.zero_point, self.offset_mantissa, self.offset_distance)
        for numbers in zip(*(field.tolist() for field in fields), strict=True):
            rows = [dict(zip(names, row, strict=True)) for row in zip(*numbers, strict=True)]
            yield {"rows": rows, "reach": self.reach, "has_offset": int(self.offset)}

    def summary_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``summaries``."""
        kind = payloads.ActivationFormat[self.activations.upper()]
        names = ("distance", "sum", "reference", "special")
        for below, sums in zip(self.below.tolist(), self.sums.tolist(), strict=True):
            parts = zip(below, sums, self.reference.tolist(), self.special.astype(int).tolist(), strict=True)
            yield {"columns": [dict(zip(names, part, strict=True)) for part in parts], "format": kind}

    def channel_beat(self) -> dict[str, Any]:
        """Payload of ``channels``."""
        return {
            "rows": [{"exponent": exponent} for exponent in self.exponents.tolist()],
            "count": self.count,
            "output": OUTPUTS.index(self.output),
            "reach": self.reach,
            "last": self.last,
            "error": self.error,
        }

    def check(self, beats: Iterator[tuple[dict[str, Any], int]]) -> None:
        """Compare the block's result beats, its overflow flag included."""
        for row in range(0, self.count, config.rescale_units):
            end = min(row + config.rescale_units, self.count)
            beat, overflow = next(beats)
            assert beat["rows"][: end - row] == self.patterns[row:end].tolist(), (row, self.dtype.name)
            assert beat["count"] == end - row
            assert beat["last"] == (self.last and end == self.count)
            assert beat["error"] == self.error
            assert overflow == self.overflows[row:end].any()


class Promise:
    """Checks that dots are taken within ``CAPTURE_LATENCY`` cycles of a promise; counts those kept."""

    def __init__(self, domain: Domain, room: str) -> None:
        self.domain, self.room, self.kept = domain, room, 0
        self.taken: list[int] = []
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
            self.taken.append(cycle)
            self.kept += self._deadline is not None
            self._deadline = None
        elif self._deadline is not None and cycle >= self._deadline:
            raise AssertionError(f"promise broken in cycle {cycle}")

    def restart(self) -> None:
        """Forget the promise."""
        self._deadline = None

    def status(self) -> str:
        """For the report of a hang."""
        return f"promise: {len(self.taken)} dots taken, {self.kept} of them promised"


class Bench:
    """Sources and sink; with room ``buffer`` a result buffer like the tile's stands behind the rescaler."""

    def __init__(self, domain: Domain, stalls: str, room: str) -> None:
        where = situation(stalls)
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
        depth, write = random.randint(1, 4 * config.slots), self.domain.writer("room")

        def pattern(rng: random.Random) -> Iterator[bool]:
            for stalled in drain(rng):
                self._level -= self._level > 0 and not stalled
                write(depth - self._level)
                yield self._level >= depth

        return pattern

    def send(self, block: Block) -> None:
        """Queue one block."""
        self.sources["dots"].send_all(block.dot_beats())
        self.sources["scales"].send_all(block.scale_beats())
        self.sources["summaries"].send_all(block.summary_beats())
        self.sources["channels"].send(block.channel_beat())

    async def check(self, blocks: list[Block]) -> None:
        """Wait for all results and compare them."""
        await self.sink.wait_for(sum(-(-block.count // config.rescale_units) for block in blocks))
        await self.domain.cycles(2 * (rescaler.LATENCY))
        beats = ((self.sink.codec.unpack(bits), overflow) for bits, overflow in self.beats)
        for block in blocks:
            block.check(beats)
        assert next(beats, None) is None


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS, room=ROOMS)
async def any_blocks(dut: Any, stalls: str, room: str) -> None:
    """Blocks of all kinds and lengths back to back."""
    domain = await reset(dut, cycle_limit=100_000)
    bench = Bench(domain, stalls, room)
    kinds = [number % 2 == 0 for number in range(BLOCKS)]
    random.shuffle(kinds)
    blocks = [
        Block(offset, random.choice((1, 1, 2, random.randint(1, config.maximum_groups)))) for offset in kinds
    ]
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
    blocks = [Block(offset, config.maximum_groups, extreme=True) for _ in range(3)]
    for block in blocks:
        bench.send(block)
    await bench.check(blocks)


@cocotb.test()
@cocotb.parametrize(offset=FLAGS, room=ROOMS)
async def exact_cycles(dut: Any, offset: bool, room: str) -> None:
    """A group takes a cycle a slot and pass, results the stated latency; the promise comes in time."""
    domain = await reset(dut, cycle_limit=10_000)
    bench, turns = Bench(domain, "free_running", room), config.slots * (1 + offset)
    block = Block(offset, 6)
    block.count = config.rows
    bench.send(block)
    await bench.check([block])
    taken = bench.promise.taken
    assert taken == [taken[0] + turns * group for group in range(6)]
    assert bench.arrivals[-1] == taken[-1] + rescaler.LATENCY
    passes = range(config.slots)
    assert bench.arrivals == [bench.arrivals[-1] - (1 + offset) * slot for slot in reversed(passes)]
    turns = config.slots * (2 if offset else 1)
    if turns > 1:  # a single turn takes its group at once
        assert bench.promise.kept >= 5  # all but the final group, whose results may lack room


@cocotb.test()
async def reset_in_a_block(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    domain = await reset(dut, cycle_limit=100_000)
    for _ in range(4):
        bench = Bench(domain, "free_running", "none")
        for _ in range(4):
            bench.send(Block(random.random() < 0.5, 3))
        await domain.cycles(random.randint(5, 60))
        await domain.reset()
        bench = Bench(domain, "free_running", "none")
        blocks = [Block(offset, 2) for offset in FLAGS]
        for block in blocks:
            bench.send(block)
        await bench.check(blocks)
        await domain.reset()
