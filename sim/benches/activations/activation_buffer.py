"""Activation buffer: every pass gives the vector's chunks and summaries, whatever the stalls on four streams.

Parameters: ``config``, the fields of the configuration.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from hw import payloads
from hw.config import Config
from hw.payloads import ActivationFormat
from sim import context
from sim.coverage import Coverage
from sim.stalls import Pattern, never
from sim.streams import (
    SITUATIONS,
    Domain,
    Scoreboard,
    StreamMonitor,
    StreamSink,
    StreamSource,
    reset,
    situation,
)

CONFIG = Config.model_validate(context.parameters()["config"])
LARGEST = (1 << CONFIG.activation_bits - 1) - 1

coverage = Coverage(
    "activation_buffer", {"stalls": SITUATIONS, "count": (0, 1, 2, 3), "keep": (0, 1), "short": (0, 1)}
)

coverage_rate = Coverage(
    "activation_buffer_rate", {"over": ("groups", "passes", "commands", "vectors", "summaries")}
)


@dataclass(frozen=True)
class Vector:
    """A random aligned vector: elements [columns, C], and exponents and sums [columns, groups].

    ``length`` is that of its groups, in elements.
    """

    elements: np.ndarray
    exponents: np.ndarray
    sums: np.ndarray
    special: np.ndarray
    format: ActivationFormat
    length: int

    @classmethod
    def random(cls, beats: int) -> "Vector":
        rng = np.random.default_rng(random.getrandbits(32))
        inputs = beats * CONFIG.activation_lanes
        length = random.choice(CONFIG.group_lengths)
        groups = CONFIG.columns, -(-inputs // length)
        half = 1 << CONFIG.sum_bits - 1
        return cls(
            elements=rng.integers(-LARGEST, LARGEST + 1, (CONFIG.columns, inputs)),
            exponents=rng.integers(1, 255, groups),
            sums=rng.integers(-half, half, groups),
            special=rng.integers(0, 2, CONFIG.columns),
            format=random.choice(list(ActivationFormat)),
            length=length,
        )

    @property
    def beats(self) -> int:
        return self.elements.shape[1] // CONFIG.activation_lanes

    @property
    def groups(self) -> int:
        return self.exponents.shape[1]

    def aligned(self) -> Iterator[dict[str, Any]]:
        """Its beats; sums and special flags count in the last beat of a group and of the vector only."""
        for beat in range(self.beats):
            start, stop = beat * CONFIG.activation_lanes, (beat + 1) * CONFIG.activation_lanes
            last = beat == self.beats - 1
            group_last = last or stop % self.length == 0
            group = start // self.length
            columns = [
                {
                    "exponent": int(self.exponents[column, group]),
                    "sum": int(self.sums[column, group]) if group_last else random.randint(-99, 99),
                    "special": int(self.special[column]) if last else random.getrandbits(1),
                }
                for column in range(CONFIG.columns)
            ]
            yield {
                "elements": self.elements[:, start:stop].tolist(),
                "columns": columns,
                "format": self.format,
                "group_last": int(group_last),
                "last": int(last),
            }

    def chunks(self) -> list[list[list[int]]]:
        """The chunks of a pass."""
        missing = -self.elements.shape[1] % CONFIG.lanes
        padded = np.pad(self.elements, [(0, 0), (0, missing)])
        return [padded[:, at : at + CONFIG.lanes].tolist() for at in range(0, padded.shape[1], CONFIG.lanes)]

    def summaries(self) -> list[dict[str, Any]]:
        """The summaries of a pass."""
        reference = self.exponents.max(axis=1)
        return [
            {
                "columns": [
                    {
                        "distance": int(reference[column] - self.exponents[column, group]),
                        "sum": int(self.sums[column, group]),
                        "reference": int(reference[column]),
                        "special": int(self.special[column]),
                    }
                    for column in range(CONFIG.columns)
                ],
                "format": self.format,
            }
            for group in range(self.groups)
        ]


class Bench:
    """Sources, sinks and scoreboards around the design."""

    def __init__(
        self,
        domain: Domain,
        stalls: str = "free_running",
        lag: Pattern | None = None,
        summary_lag: Pattern | None = None,
    ) -> None:
        where = situation(stalls)
        self.domain = domain
        self.forget()
        self.aligned = StreamSource(domain, "aligned", payloads.aligned_beat(CONFIG), where.source)
        self.passes = StreamSource(domain, "passes", payloads.passes, where.source, observer=self._accepted)
        self.activations = StreamSink(
            domain,
            "activations",
            payloads.activations(CONFIG),
            lag or where.sink,
            where.sink_waits,
            observer=lambda bits: self.chunk_board.observe(bits),
        )
        self.summaries = StreamSink(
            domain,
            "summaries",
            payloads.summary(CONFIG),
            summary_lag or where.sink,
            where.sink_waits,
            observer=lambda bits: self.summary_board.observe(bits),
        )
        self._size = [domain.reader(port) for port in ("vector_valid", "vector_beats", "vector_groups")]

    def forget(self) -> None:
        """Expect nothing."""
        self.chunk_board = Scoreboard("activations", payloads.activations(CONFIG))
        self.summary_board = Scoreboard("summaries", payloads.summary(CONFIG))
        self.chunks = self.groups = 0
        self.sizes: list[tuple[int, int, int]] = []

    def send(self, vector: Vector, commands: list[tuple[int, int]]) -> None:
        """Queue a vector with its commands (count, keep); only the last one may come without keep."""
        self.aligned.send_all(vector.aligned())
        for count, keep in commands:
            self.passes.send({"count": count, "keep": keep})
            self.sizes.append((1, vector.beats, vector.groups))
            for _ in range(count):
                self.chunk_board.expect_all(vector.chunks())
                self.summary_board.expect_all(vector.summaries())
            self.chunks += count * len(vector.chunks())
            self.groups += count * vector.groups

    def _accepted(self, _: int) -> None:
        size = tuple(read() for read in self._size)
        assert size == self.sizes.pop(0), f"a command was accepted for the vector {size}"

    async def finish(self) -> None:
        """Wait for all that is expected, and a little for what is not."""
        await self.passes.drained()
        await self.activations.wait_for(self.chunks)
        await self.summaries.wait_for(self.groups)
        await self.domain.cycles(12)
        self.chunk_board.finish()
        self.summary_board.finish()
        assert not self.sizes
        assert self._size[0]() == 0, "a vector is left"


def longest_beats() -> int:
    """Beats of the longest vector."""
    return CONFIG.maximum_inputs // CONFIG.activation_lanes


def lengths() -> list[int]:
    """Beats of interesting vectors."""
    full, longest = CONFIG.group // CONFIG.activation_lanes, longest_beats()
    named = [1, 2, full - 1, full, full + 1, 2 * full, longest - 1, longest]
    drawn = [random.randint(1, longest) for _ in range(4)]
    return [min(max(1, beats), longest) for beats in named + drawn]


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_pass(dut: Any, stalls: str) -> None:
    """Vectors of many lengths, each under several commands."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    full = CONFIG.group // CONFIG.activation_lanes
    for last_count, beats in itertools.product(range(4), lengths()):
        vector = Vector.random(beats)
        kept = [(random.randint(0, 3), 1) for _ in range(random.choice((0, 0, 1, 3)))]
        commands = [*kept, (last_count, 0)]
        bench.send(vector, commands)
        for count, keep in commands:
            coverage.hit(stalls=stalls, count=count, keep=keep, short=int(beats % full > 0))
    await bench.finish()


@cocotb.test()
async def no_bubbles(dut: Any) -> None:
    """Chunks follow each other across passes, commands and vectors, 2 cycles after the first command."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"passes": [], "activations": [], "summaries": [], "aligned": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    parts = CONFIG.lanes // CONFIG.activation_lanes
    longest = longest_beats()
    bench.send(Vector.random(longest), [(parts, 1), (1, 1), (2, 0)])
    bench.send(Vector.random(parts), [(1, 1), (2, 1), (1, 1), (1, 1), (parts, 0)])
    bench.send(Vector.random(1), [(1, 1)] * 5 + [(1, 0)])
    await bench.finish()
    given = cycles["activations"]
    assert given == list(range(given[0], given[0] + len(given)))
    assert given[0] == cycles["summaries"][0] == cycles["passes"][0] + 2
    taken = cycles["aligned"][: longest + parts]
    assert taken == list(range(taken[0], taken[0] + len(taken)))
    assert cycles["passes"][0] == taken[longest - 1] + 1
    for over in ("groups", "passes", "commands", "vectors"):
        coverage_rate.hit(over=over)


@cocotb.test()
async def summaries_without_gaps(dut: Any) -> None:
    """A summary a cycle through all passes of a command, from 2 cycles after it was accepted."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"passes": [], "summaries": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    vector, commands = Vector.random(longest_beats()), [(3, 1), (1, 1), (2, 0)]
    bench.send(vector, commands)
    await bench.finish()
    wanted = [
        accepted + 2 + number
        for accepted, (count, _) in zip(cycles["passes"], commands, strict=True)
        for number in range(count * vector.groups)
    ]
    assert cycles["summaries"] == wanted
    coverage_rate.hit(over="summaries")


@cocotb.test()
async def summaries_lag(dut: Any) -> None:
    """All chunks of two commands come although no summary was taken, then all of the summaries."""
    sink: list[StreamSink] = []
    wanted = 5 * len(Vector.random(longest_beats()).chunks())

    def late(_: random.Random) -> Iterator[bool]:
        while True:
            yield not sink or sink[0].count < wanted

    bench = Bench(await reset(dut, cycle_limit=10_000), lag=never, summary_lag=late)
    sink.append(bench.activations)
    bench.send(Vector.random(longest_beats()), [(2, 1), (3, 0)])
    await bench.finish()


@cocotb.test()
async def chunks_lag(dut: Any) -> None:
    """All summaries of a command come although no chunk was taken, then all of the chunks."""
    sink: list[StreamSink] = []
    vector = Vector.random(longest_beats())

    def late(_: random.Random) -> Iterator[bool]:
        while True:
            yield not sink or sink[0].count < 3 * vector.groups

    bench = Bench(await reset(dut, cycle_limit=10_000), lag=late, summary_lag=never)
    sink.append(bench.summaries)
    bench.send(vector, [(3, 0)])
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(cycles=(2, 9, 30, 55))
async def reset_forgets(dut: Any, cycles: int) -> None:
    """After a reset in the middle of loading and streaming both banks are empty."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    bench.send(Vector.random(longest_beats()), [(3, 0)])
    bench.send(Vector.random(longest_beats()), [(3, 0)])
    await bench.domain.cycles(cycles)
    await bench.domain.reset()
    assert (dut.vector_valid.value, dut.activations_valid.value, dut.summaries_valid.value) == (0, 0, 0)
    bench.forget()
    bench.chunks, bench.groups = bench.activations.count, bench.summaries.count
    bench.send(Vector.random(1), [(2, 1), (1, 0)])
    bench.send(Vector.random(longest_beats()), [(2, 0)])
    await bench.finish()
