"""Spacing: what a bench sends comes back to back, or one thing after the other with silence between.

A design that recovers from something bad may do so only because the next thing waits at its input, or only
because it does not. So benches send bad things both ways, and in every order.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sim.streams import Domain, StreamSource

__all__ = ["SPACINGS", "every_pair", "send_spaced"]

SPACINGS = ("together", "apart")
"""Names of the two, for the parameters of a test."""

_SILENCES = (40, 1, 3)
"""Cycles, in turn: an odd number of lengths, so that good and bad things by turns meet all of them."""

_T = TypeVar("_T")


async def send_spaced(
    domain: Domain, sources: Iterable[StreamSource], acts: Iterable[Callable[[], object]], spacing: str
) -> None:
    """Let acts queue their beats, ``together`` or ``apart``.

    Args:
        domain: of the sources.
        sources: every source that an act sends to.
        acts: each sends one thing.
        spacing: with ``apart`` all sources drain after each act, then some cycles pass.
    """
    sources, silences = list(sources), itertools.cycle(_SILENCES)
    for act in acts:
        act()
        if spacing == "apart":
            for source in sources:
                await source.drained()
            await domain.cycles(next(silences))


def every_pair(items: Sequence[_T]) -> list[_T]:
    """A sequence in which each item is followed once by each one, itself included (a de Bruijn sequence)."""
    count = len(items)
    order = [
        place
        for first in range(count)
        for second in range(first, count)
        for place in ((first,) if first == second else (first, second))
    ]
    return [items[place] for place in [*order, *order[:1]]]
