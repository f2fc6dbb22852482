"""Array: exact group dot products of every row and column, every data type, any stalls, and no idle cycle."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.numbers.datatypes import DataType
from golden.pe.dot import group_dot
from hw import payloads
from hw.config import Config
from hw.pe.array import CAPTURE_LATENCY, dots_latency, group_cycles
from sim import context
from sim.benches.weights.matrices import format_value
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
coverage_rate = Coverage("array_rate", {"consumer": ("at once", "as promised")})
coverage = Coverage("array", {"type": config.types, "stalls": SITUATIONS, "data": ("random", "extreme")})


class Group:
    """One group of random codes and activations, with its golden dot products."""

    def __init__(self, dtype: DataType, chunks: int, data: str) -> None:
        rng = np.random.default_rng(random.getrandbits(32))
        inputs, most = chunks * config.lanes, config.largest_activation
        self.dtype, self.final = dtype, random.getrandbits(1)
        self.codes = rng.integers(0, len(dtype.integers), (config.rows, inputs))
        self.selectors = rng.integers(0, max(len(dtype.specials), 1), config.rows)
        self.activations = rng.integers(-most, most + 1, (config.columns, inputs))
        tables = np.stack([dtype.values(selector) for selector in self.selectors])
        if data == "extreme":
            self.activations = most * np.sign(self.activations + 0.5).astype(int)
            self.codes = np.abs(tables).argmax(axis=1)[:, None] + 0 * self.codes
        self.values = np.take_along_axis(tables, self.codes, axis=1)

    def chunks(self) -> list[dict[str, Any]]:
        """Payloads of the chunk stream."""
        lanes = config.lanes
        starts = range(0, self.codes.shape[1], lanes)
        table = np.array([self.dtype.lane(code) for code in range(len(self.dtype.integers))])
        return [
            {
                "codes": table[self.codes[:, start : start + lanes]].tolist(),
                "selectors": self.selectors.tolist(),
                "format": format_value(config, self.dtype),
                "last": int(start == starts[-1]),
                "final": self.final,
                "finished": 0,
            }
            for start in starts
        ]

    def beats(self) -> list[list[list[int]]]:
        """Payloads of the activation stream."""
        lanes = config.lanes
        return [
            self.activations[:, s : s + lanes].tolist() for s in range(0, self.activations.shape[1], lanes)
        ]

    def check(self, dots: dict[str, Any]) -> None:
        """Compare one beat of the output stream, bias removed."""
        half = 1 << config.product_bits - 1
        got = (np.array(dots["dots"], np.int64) - dots["bias"] + half) % (2 * half) - half
        inputs = self.activations.shape[1]
        for column, activations in enumerate(self.activations):
            expected = group_dot(activations, self.values, inputs)[:, 0]
            assert got[column].tolist() == expected.tolist(), (self.dtype.name, column)
        assert dots["final"] == self.final


async def multiply(domain: Domain, groups: list[Group], stalls: str) -> None:
    """Stream groups through and compare everything that comes out."""
    where = situation(stalls)
    chunks = StreamSource(domain, "chunks", payloads.chunk(config), where.source)
    activations = StreamSource(domain, "activations", payloads.activations(config), where.source)
    sink = StreamSink(domain, "dots", payloads.dots(config), where.sink, where.sink_waits)
    for group in groups:
        chunks.send_all(group.chunks())
        activations.send_all(group.beats())
    for group, dots in zip(groups, await sink.receive(len(groups)), strict=True):
        group.check(dots)
    await domain.cycles(2 * dots_latency(config))
    assert sink.count == len(groups)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_type(dut: Any, stalls: str) -> None:
    """Groups of all types in random order and of all lengths, back to back."""
    domain = await reset(dut, cycle_limit=100_000)
    chosen = [(dtype, data) for dtype in config.datatypes for data in ("random", "extreme")]
    random.shuffle(chosen)
    await multiply(
        domain, [Group(dtype, random.randint(1, config.chunks), data) for dtype, data in chosen], stalls
    )
    for dtype, data in chosen:
        coverage.hit(type=dtype.name, stalls=stalls, data=data)


class LateConsumer:
    """Takes dots a number of cycles after they come, and promises that as early as it may, or at once."""

    def __init__(self, domain: Domain, wait: int) -> None:
        self.seen: list[tuple[int, int]] = []  # cycle and payload
        self._wait, self._waited, self._domain = wait, 0, domain
        self._valid = domain.reader("dots_valid")
        self._promise, self._ready = domain.writer("promise"), domain.writer("dots_ready")
        StreamMonitor(domain, "dots", observer=lambda bits: self.seen.append((domain.cycle, bits)))
        domain.add(self)

    def step(self) -> None:
        taken = self.seen and self.seen[-1][0] == self._domain.cycle
        self._waited = 0 if taken or not self._valid() else self._waited + 1
        self._ready(self._waited >= self._wait)
        self._promise(self._wait > 0 and self._waited > self._wait - CAPTURE_LATENCY)

    def restart(self) -> None:
        self._waited = 0

    def status(self) -> str:
        return f"late consumer: {len(self.seen)} dots taken, the next ones wait for {self._waited} cycles"


async def stream(domain: Domain, groups: list[Group], consumer: LateConsumer) -> list[int]:
    """Stream groups without stalls, compare the dots; the cycles in which they are taken."""
    chunks = StreamSource(domain, "chunks", payloads.chunk(config))
    activations = StreamSource(domain, "activations", payloads.activations(config))
    for group in groups:
        chunks.send_all(group.chunks())
        activations.send_all(group.beats())
    while len(consumer.seen) < len(groups):
        await domain.cycles(1)
    unpack = codec(payloads.dots(config)).unpack
    for group, (_, bits) in zip(groups, consumer.seen, strict=True):
        group.check(unpack(bits))
    return [cycle for cycle, _ in consumer.seen]


def arrivals(groups: list[tuple[DataType, int]]) -> list[int]:
    """When the dots of groups (type, chunks) come that are taken at once.

    A group's last term waits until the dots are gone whose place its own will take.
    """
    latency, places = dots_latency(config), 1 + config.waiting_groups
    last_terms: list[int] = []
    for number, (dtype, chunks) in enumerate(groups):
        before = last_terms[-1] if last_terms else 0
        place = last_terms[number - places] + latency + 1 if number >= places else 0
        last_terms.append(max(before + chunks * dtype.term_count, place))
    return [when + latency for when in last_terms]


@cocotb.test()
async def no_idle_cycle(dut: Any) -> None:
    """Groups of all types, full ones and shorter ones, take chunks * terms cycles each."""
    domain = await reset(dut, cycle_limit=100_000)
    chosen = [
        (dtype, chunks) for dtype in config.datatypes for chunks in (config.chunks, config.chunks - 1, 1)
    ]
    random.shuffle(chosen)
    cycles = await stream(
        domain, [Group(dtype, chunks, "random") for dtype, chunks in chosen], LateConsumer(domain, 0)
    )
    assert np.diff(cycles).tolist() == np.diff(arrivals(chosen)).tolist()
    coverage_rate.hit(consumer="at once")


@cocotb.test()
async def promised(dut: Any) -> None:
    """A consumer that takes dots just before the next ones come costs nothing, as it promises to."""
    domain = await reset(dut, cycle_limit=100_000)
    dtype = next(entry for entry in config.datatypes if entry.term_count == 1)
    period = group_cycles(config, config.chunks, 1)
    groups = [Group(dtype, config.chunks, "random") for _ in range(6)]
    cycles = await stream(domain, groups, LateConsumer(domain, period - 1))
    assert np.diff(cycles).tolist() == [period] * 5
    coverage_rate.hit(consumer="as promised")


@cocotb.test()
async def reset_in_a_group(dut: Any) -> None:
    """A reset in the middle of a group leaves nothing behind."""
    domain = await reset(dut, cycle_limit=10_000)
    for _ in range(8):
        chunks = StreamSource(domain, "chunks", payloads.chunk(config))
        activations = StreamSource(domain, "activations", payloads.activations(config))
        group = Group(random.choice(config.datatypes), config.chunks, "random")
        chunks.send_all(group.chunks())
        activations.send_all(group.beats())
        await domain.cycles(random.randint(1, config.chunks))
        await domain.reset()
        await multiply(
            domain, [Group(random.choice(config.datatypes), 2, "random") for _ in range(3)], "free_running"
        )
        await domain.reset()
