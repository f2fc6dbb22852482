"""A pipeline without handshake that moves with ``advance`` only: feed it, halt it, compare what leaves."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sim.streams import Domain

__all__ = ["check_pipeline"]

_W = TypeVar("_W")


async def check_pipeline(
    domain: Domain,
    dut: Any,
    latency: int,
    works: Sequence[_W],
    halts: bool,
    drive: Callable[[_W | None, _W | None], None],
    compare: Callable[[_W], None],
) -> None:
    """Every work in order, ``advance`` low now and then.

    Args:
        domain: after its reset.
        dut: the pipeline.
        latency: cycles with ``advance`` from inputs to outputs.
        works: what goes in.
        halts: whether ``advance`` is ever low.
        drive: puts a work at the inputs, given the one that entered before it; None where there is none, and
            anything may stand there.
        compare: looks at the outputs in every cycle in which those of a work stand there.
    """
    pipeline: deque[_W | None] = deque([None] * latency, latency)
    remaining, seen = iter(works), 0
    offered, advance = None, False
    while seen < len(works):
        await domain.cycles(1)
        done = pipeline[0]
        if done is not None:
            compare(done)
        if advance:  # the edge just passed moves the pipeline
            seen += done is not None
            pipeline.append(offered)
        advance = not halts or random.random() < 0.6
        offered = next(remaining, None) if advance else None
        drive(offered, pipeline[-1])
        dut.advance.value = advance
