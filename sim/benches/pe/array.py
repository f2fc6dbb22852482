"""Array: exact group dot products of every row and column, every data type, any stalls, and no idle cycle."""

import random
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np

from golden.numbers.datatypes import DataType
from golden.pe.dot import group_dot
from hw import payloads
from hw.config import Config
from hw.pe.array import CAPTURE_LATENCY, group_cycles
from sim import context
from sim.benches.weights.matrices import format_value
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
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
    await domain.cycles(2 * CAPTURE_LATENCY)
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


@cocotb.test()
async def no_idle_cycle(dut: Any) -> None:
    """Full groups of one type take chunks * terms cycles each, whatever the type."""
    domain = await reset(dut, cycle_limit=100_000)
    sink_codec = codec(payloads.dots(config))
    for dtype in config.datatypes:
        arrivals: list[int] = []
        sink = StreamSink(
            domain,
            "dots",
            payloads.dots(config),
            observer=lambda bits, seen=arrivals: seen.append(domain.cycle),
        )
        chunks = StreamSource(domain, "chunks", payloads.chunk(config))
        activations = StreamSource(domain, "activations", payloads.activations(config))
        groups = [Group(dtype, config.chunks, "random") for _ in range(5)]
        for group in groups:
            chunks.send_all(group.chunks())
            activations.send_all(group.beats())
        await sink.wait_for(len(groups))
        assert sink_codec is not None
        gaps = {later - earlier for earlier, later in pairwise(arrivals)}
        assert gaps == {group_cycles(config.chunks, dtype.term_count)}, (dtype.name, gaps)
        await domain.reset()


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
