"""Lists of queries for benches: good and bad ones, and what golden makes of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.attention.scores import fold
from golden.numbers import floats
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP

__all__ = ["FAULTS", "KINDS", "QueryList", "faulty_list", "random_list", "random_patterns"]

KINDS = ("normal", "any", "subnormal", "extreme", "special")
FAULTS = ("none", "short", "long", "many", "no channels", "too many channels", "all")


@dataclass(frozen=True)
class QueryList:
    """Queries as they are sent.

    Attributes:
        config: of the circuit.
        queries: float16 patterns of each query, uint16, whole beats.
        channels: a 16th of the length that they should have.
    """

    config: Config
    queries: list[NDArray[np.uint16]]
    channels: int

    @property
    def most(self) -> int:
        """Largest value of ``channels``."""
        return self.config.kv.channels // SHORTEST_GROUP

    @property
    def length(self) -> int:
        """Elements that a query has in the end."""
        return SHORTEST_GROUP * (self.channels if 0 < self.channels <= self.most else self.most)

    @property
    def count(self) -> int:
        """Queries that are kept."""
        return min(len(self.queries), self.config.kv.queries)

    @property
    def errors(self) -> int:
        """Queries that are not as they should be."""
        wrong = not 0 < self.channels <= self.most
        return sum(
            wrong or number >= self.count or len(query) != self.length
            for number, query in enumerate(self.queries)
        )

    def beats(self) -> Iterator[dict[str, Any]]:
        lanes = self.config.activation_lanes
        for number, query in enumerate(self.queries):
            elements = query.tolist()
            for start in range(0, len(elements), lanes):
                last = start + lanes == len(elements)
                yield {
                    "elements": elements[start : start + lanes],
                    "channels": self.channels,
                    "last": last,
                    "ends": last and number == len(self.queries) - 1,
                }

    def kept(self) -> NDArray[np.uint16]:
        """Patterns of the queries as they are kept, [N, D]."""
        whole = np.zeros((self.count, self.length), np.uint16)
        for row, query in zip(whole, self.queries, strict=False):
            kept = query[: self.length]
            row[: len(kept)] = kept
        return whole

    def expected(self) -> tuple[NDArray[np.uint32], int]:
        """Patterns of tf32, [N, D], and a bit for each query that has NaN or infinity."""
        query = fold(self.kept().view(np.float16))
        patterns = floats.encode(query.values.astype(np.float32), "tf32")
        return patterns, sum(int(flag) << number for number, flag in enumerate(query.special))


def random_patterns(kind: str, count: int) -> NDArray[np.uint16]:
    """Float16 patterns of a kind."""
    rng = np.random.default_rng(random.getrandbits(32))
    if kind == "normal":
        return rng.standard_normal(count).astype(np.float16).view(np.uint16)
    magnitudes = rng.integers(0, 0x7C00, count)
    if kind == "subnormal":
        magnitudes = rng.integers(1, 0x400, count) >> rng.integers(0, 10, count)
    elif kind == "extreme":
        magnitudes = rng.choice([0, 1, 0x3FF, 0x400, 0x7BFF], count)
    elif kind == "special":
        seldom = rng.random(count) < 1 / count
        magnitudes = np.where(seldom, rng.choice([0x7C00, 0x7C01, 0x7E00, 0x7FFF], count), magnitudes)
    return (magnitudes | rng.integers(0, 2, count) << 15).astype(np.uint16)


def random_list(config: Config, kind: str, channels: int, count: int) -> QueryList:
    """A good list of so many queries."""
    return QueryList(
        config, [random_patterns(kind, SHORTEST_GROUP * channels) for _ in range(count)], channels
    )


def faulty_list(config: Config, fault: str) -> QueryList:
    """A list with a fault, between queries without; ``all`` has every one of lengths and number."""
    most, lanes, room = config.kv.channels // SHORTEST_GROUP, config.activation_lanes, config.kv.queries
    channels = random.randint(1, most)
    length = SHORTEST_GROUP * channels
    count = room + random.randint(1, 3) if fault in ("many", "all") else random.randint(1, room)
    lengths = [length] * count
    for name, others in (
        ("short", range(lanes, length, lanes)),
        ("long", range(length + lanes, 2 * length + 4 * lanes, lanes)),
    ):
        if fault in (name, "all") and others:
            lengths[random.randrange(count)] = random.choice((others[0], others[-1], random.choice(others)))
    if fault == "no channels":
        channels = 0
    if fault == "too many channels":
        channels = min(most + 1, (1 << most.bit_length()) - 1)
    return QueryList(config, [random_patterns("special", number) for number in lengths], channels)
