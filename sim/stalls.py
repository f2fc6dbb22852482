"""Stall patterns: when a source is idle and a sink is not ready.

A pattern is a function ``rng -> iterator of bool``, one item a cycle, True for a stalled cycle. Situations
pair a pattern for each side of a component; tests run every component through all of them.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

__all__ = ["SITUATIONS", "Pattern", "Situation", "alternate", "bursts", "never", "probability", "situation"]

Pattern = Callable[[Random], Iterator[bool]]


def never(rng: Random) -> Iterator[bool]:
    """No stalled cycle: full throughput."""
    return itertools.repeat(False)


def alternate(rng: Random) -> Iterator[bool]:
    """Every second cycle stalled, starting with a stalled one."""
    return itertools.cycle((True, False))


def probability(share: float) -> Pattern:
    """Each cycle stalled on its own with probability ``share`` in 0 <= share < 1."""
    if not 0 <= share < 1:
        raise ValueError(f"share {share} is not in 0 <= share < 1")

    def pattern(rng: Random) -> Iterator[bool]:
        draw = rng.random
        while True:
            yield draw() < share

    return pattern


def bursts(longest: int = 16) -> Pattern:
    """Stalled and free runs in turn, each of 1 to ``longest`` cycles."""
    if longest < 1:
        raise ValueError(f"longest {longest} is not at least 1")

    def pattern(rng: Random) -> Iterator[bool]:
        stalled = rng.random() < 0.5
        while True:
            yield from itertools.repeat(stalled, rng.randint(1, longest))
            stalled = not stalled

    return pattern


@dataclass(frozen=True)
class Situation:
    """Stalls on both sides of a component.

    Attributes:
        name: identifies the situation in a test's name.
        source: when the driver of inputs is idle.
        sink: when the receiver of outputs is not ready.
        sink_waits: the receiver raises ready only after it has seen valid, which hangs a component whose
            valid waits for ready.
    """

    name: str
    source: Pattern = never
    sink: Pattern = never
    sink_waits: bool = False


_ALL = (
    Situation("free_running"),
    Situation("source_slow", source=probability(0.7)),
    Situation("sink_slow", sink=probability(0.7)),
    Situation("both_random", source=probability(0.4), sink=probability(0.4)),
    Situation("both_alternate", source=alternate, sink=alternate),
    Situation("both_bursts", source=bursts(), sink=bursts()),
    Situation("sink_waits", sink_waits=True),
)

#: Names of every situation, in the order in which tests run them.
SITUATIONS: tuple[str, ...] = tuple(item.name for item in _ALL)


def situation(name: str) -> Situation:
    """The situation called ``name``."""
    for item in _ALL:
        if item.name == name:
            return item
    raise ValueError(f"situation {name!r} is not one of {', '.join(SITUATIONS)}")
