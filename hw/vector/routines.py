"""What the lanes of the vector unit do in which cycle, function by function.

A word's element takes three cycles from the control's step to the lane (``DATA``), then
``hw.vector.vector_lane`` says how many to the sum and the result. Streams of words repeat their steps; a norm
has two programs between its two streams that run once.

Steps of a stream are given for the word that they read, also for what happens to it later; ``lag`` is how
many rounds a read waits, because what it meets comes from a round before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.lib import enum

from hw.vector.vector_lane import RESULT, X, Y, Z

__all__ = [
    "DATA",
    "FOLD",
    "FOLD_KEEP",
    "FOLD_LAST",
    "PLACES",
    "ROOT",
    "ROOT_HALF",
    "ROOT_MEAN",
    "ROOT_Y",
    "STREAMS",
    "TIMER_BITS",
    "Activity",
    "Operand",
    "ScalarY",
    "ScalarZ",
    "Step",
    "Stream",
]

DATA = 3
"""Cycles from the step that reads a word to the cycle in which the lanes see it."""
TIMER_BITS = 7
"""Of the cycles of an activity, beyond any that its table speaks of."""
PLACES = 4
"""Sums of squares behind the lanes, of every fourth element; a lane sums them in rounds."""


class Activity(enum.Enum, shape=4):
    """What the unit is doing."""

    IDLE = 0
    CHECK = 1
    COPY = 2
    ADD = 3
    MULTIPLY = 4
    SQUARES = 5
    FOLD = 6
    ROOT = 7
    SCALE = 8
    ROTARY = 9
    SILU = 10
    SEARCH = 11
    ANSWER = 12


class Operand(enum.Enum, shape=1):
    """Which vector a word is of."""

    SOURCE = 0
    OPERAND = 1


class ScalarY(enum.Enum, shape=3):
    """Numbers for all lanes to multiply by."""

    ONE = 0
    LOG2E = 1
    MINUS_HALF = 2
    RECIPROCAL = 3
    T0 = 4
    T1 = 5
    T2 = 6


class ScalarZ(enum.Enum, shape=3):
    """Numbers for all lanes to add."""

    ZERO = 0
    EPSILON = 1
    ONE_AND_HALF = 2
    T1 = 3
    T3 = 4


@dataclass(frozen=True)
class Step:
    """A cycle of a lane.

    Attributes:
        read: the vector that a word is read of, if any.
        lag: rounds that the read waits.
        second: the word is of a segment's second half.
        x, y: factors, in the cycle in which the word is there.
        scalar_y: that of ``Y.SCALAR``.
        z: what is added to this product.
        scalar_z: that of ``Z.SCALAR``.
        negative: the product is subtracted.
        write: the result is written; rounds after the first one with a result.
    """

    read: Operand | None = None
    lag: int = 0
    second: bool = False
    x: X = X.DATA
    y: Y = Y.SCALAR
    scalar_y: ScalarY = ScalarY.ONE
    z: Z = Z.SCALAR
    scalar_z: ScalarZ = ScalarZ.ZERO
    negative: bool = False
    write: int | None = None


@dataclass(frozen=True)
class Stream:
    """Steps that repeat.

    Attributes:
        steps: 1, 2 or 4 of them.
        take_result: ``PREVIOUS`` of the lanes is the result.
    """

    steps: tuple[Step, ...]
    take_result: bool = False

    @property
    def first(self) -> int:
        """Step at which the first result is there, ``DATA`` + ``RESULT`` cycles later."""
        period = len(self.steps)
        writes = ((place, step.write) for place, step in enumerate(self.steps) if step.write is not None)
        return min(period * rounds + place for place, rounds in writes)


_SOURCE, _OPERAND = Operand.SOURCE, Operand.OPERAND
_SIGMOID = 5
"""Rounds from log2(e) a to the product of the sigmoid's factors."""

STREAMS: Mapping[Activity, Stream] = {
    Activity.COPY: Stream((Step(_SOURCE, write=0),)),
    Activity.ADD: Stream((Step(_SOURCE, z=Z.PREVIOUS, write=0), Step(_OPERAND, lag=1))),
    Activity.MULTIPLY: Stream((Step(_SOURCE), Step(_OPERAND, x=X.PREVIOUS, y=Y.DATA, write=0))),
    Activity.SQUARES: Stream((Step(_SOURCE, y=Y.DATA, z=Z.RESULT),), take_result=True),
    Activity.SCALE: Stream(
        (Step(_SOURCE, scalar_y=ScalarY.T1), Step(_OPERAND, lag=4, x=X.PREVIOUS, y=Y.DATA, write=4)),
        take_result=True,
    ),
    # a: last pair's a sin + b cos; cos: a cos; b: b cos; sin: b sin, taken from a cos.
    Activity.ROTARY: Stream(
        (
            Step(_SOURCE, x=X.KEPT, y=Y.PREVIOUS, z=Z.EARLIER, write=1),
            Step(_OPERAND, x=X.KEPT, y=Y.DATA),
            Step(_SOURCE, second=True, x=X.DATA, y=Y.PREVIOUS),
            Step(_OPERAND, second=True, x=X.PREVIOUS, y=Y.DATA, z=Z.EARLIER, negative=True, write=0),
        )
    ),
    Activity.SILU: Stream(
        (
            Step(_SOURCE, scalar_y=ScalarY.LOG2E),
            Step(x=X.FACTOR, y=Y.FACTOR),
            Step(_SOURCE, lag=_SIGMOID + 2, x=X.DATA, y=Y.PREVIOUS),
            Step(_OPERAND, lag=_SIGMOID + 4, x=X.PREVIOUS, y=Y.DATA, write=_SIGMOID + 4),
        ),
        take_result=True,
    ),
    Activity.SEARCH: Stream((Step(_SOURCE),)),
}

_PASS = Step(x=X.PREVIOUS)
_SUM = Step(x=X.PREVIOUS, z=Z.EARLIER)


_BACK = RESULT + 1
"""Cycles from factors to their result as ``PREVIOUS``."""


def _newton(begin: int, factor: ScalarY) -> dict[int, Step]:
    """(y * half) * y + 1.5, then times y.

    ``PREVIOUS`` is one of half and y, ``factor`` the other; y is ``T1``.
    """
    return {
        begin: Step(x=X.PREVIOUS, scalar_y=factor),
        begin + _BACK: Step(x=X.PREVIOUS, scalar_y=ScalarY.T1, scalar_z=ScalarZ.ONE_AND_HALF),
        begin + 2 * _BACK: Step(x=X.PREVIOUS, scalar_y=ScalarY.T1),
    }


# Sums of a lane, whose results come in cycles 7 to 10, to one: (0 + 2) + (1 + 3). The second sum waits a
# cycle more than the first, as KEPT.
FOLD: Mapping[int, Step] = {
    8: _PASS,
    9: _PASS,
    10: _SUM,
    11: _SUM,
    19: _PASS,
    21: Step(x=X.KEPT, z=Z.EARLIER),
}
FOLD_KEEP, FOLD_LAST = 19, 29
"""Cycles in which the second sum, and the sum of all, are the result."""

# The lanes' sums to (0 + 1) + (2 + 3), the mean, and two Newton steps; every lane does the same.
ROOT: Mapping[int, Step] = {
    1: Step(x=X.FACTOR, scalar_y=ScalarY.T0, scalar_z=ScalarZ.T1),
    3: Step(x=X.FACTOR, scalar_y=ScalarY.T2, scalar_z=ScalarZ.T3),
    10: _PASS,
    12: _SUM,
    21: Step(x=X.PREVIOUS, scalar_y=ScalarY.RECIPROCAL, scalar_z=ScalarZ.EPSILON),
    30: Step(x=X.PREVIOUS, scalar_y=ScalarY.MINUS_HALF),
    **_newton(39, ScalarY.T1),
    **_newton(66, ScalarY.T0),
}
ROOT_MEAN, ROOT_HALF, ROOT_Y = 29, 38, (65, 92)
"""Cycles in which the mean, its negative half, and the two better roots are the result."""
