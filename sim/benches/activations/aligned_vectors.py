"""Aligned vectors, and the activation buffer's streams with what they must carry."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw import payloads
from hw.config import Config
from hw.payloads import ActivationFormat
from sim import context
from sim.stalls import Pattern
from sim.streams import Domain, Scoreboard, StreamSink, StreamSource, situation

CONFIG = Config.model_validate(context.parameters()["config"])
LARGEST = (1 << CONFIG.activation_bits - 1) - 1
PARTS = CONFIG.lanes // CONFIG.activation_lanes
LONGEST = CONFIG.maximum_inputs // CONFIG.activation_lanes
"""Beats of the longest vector."""


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
    def random(cls, beats: int, length: int | None = None) -> "Vector":
        rng = np.random.default_rng(random.getrandbits(32))
        inputs = beats * CONFIG.activation_lanes
        length = length or random.choice(CONFIG.group_lengths)
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
    def places(self) -> int:
        """Chunks of the memory that it takes."""
        return -(-self.beats // PARTS)

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
        """Queue a vector with its commands."""
        self.aligned.send_all(vector.aligned())
        self.use(vector, commands)

    def use(self, vector: Vector, commands: list[tuple[int, int]]) -> None:
        """Queue a vector's commands (count, keep); only the last one may come without keep."""
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
