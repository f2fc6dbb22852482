"""Table functions: smooth functions on [1, 2) or [0, 1) by a straight line in each of 16 segments.

A function's argument is a fraction of 12 bits. Its four leading bits choose a row (intercept, slope), its
eight other bits are the place within the segment, so that a circuit needs a memory of 16 rows and one
multiplier for all functions:

    value = intercept[segment] * 2^8 + slope[segment] * place        in units of 2^-24

Nothing is rounded but the rows, to 16 fraction bits. They are the lines with the least largest error in
their segment: for a convex function the slope of the chord, halfway between the chord and the tangent
parallel to it. Relative errors over all 4,096 arguments, for the function of the truncated argument:

============  ====================  =============
function      value                 largest error
============  ====================  =============
exp2          2^fraction            1.3e-4
reciprocal    1 / (1 + fraction)    5.0e-4
============  ====================  =============

``exp2`` is used as it is. A reciprocal is corrected once (``golden.attention.division``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ARGUMENT_BITS", "EXP2", "RECIPROCAL", "SEGMENT_BITS", "VALUE_BITS", "Table"]

ARGUMENT_BITS = 12
"""Fraction bits of an argument."""
SEGMENT_BITS = 4
"""Leading bits of an argument that choose the row."""
VALUE_BITS = 24
"""Fraction bits of a value."""
_PLACE_BITS = ARGUMENT_BITS - SEGMENT_BITS


@dataclass(frozen=True)
class Table:
    """One function's rows.

    Attributes:
        name: of the function.
        intercepts: value at the begin of each segment, in units of 2^-16; 0..2^17.
        slopes: change from a segment's begin to its end, signed, in units of 2^-16.
    """

    name: str
    intercepts: tuple[int, ...]
    slopes: tuple[int, ...]

    def __call__(self, argument: ArrayLike) -> NDArray[np.int64]:
        """Values in units of 2^-24.

        Args:
            argument: integers 0..4095, in units of 2^-12.
        """
        argument = np.asarray(argument, np.int64)
        segment, place = argument >> _PLACE_BITS, argument & (1 << _PLACE_BITS) - 1
        rows = np.array([self.intercepts, self.slopes])
        return (rows[0][segment] << _PLACE_BITS) + rows[1][segment] * place


def _table(name: str, function: Callable[[float], float], touches: Callable[[float], float]) -> Table:
    """The rows of a convex function.

    Args:
        name: of the function.
        function: of the fraction.
        touches: slope to the fraction at which the function has that slope.
    """
    unit, width = 1 << VALUE_BITS - _PLACE_BITS, 1 / (1 << SEGMENT_BITS)
    intercepts, slopes = [], []
    for segment in range(1 << SEGMENT_BITS):
        begin = segment * width
        change = function(begin + width) - function(begin)
        touch = touches(change / width)
        above = function(begin) + change * (touch - begin) / width - function(touch)
        intercepts.append(round((function(begin) - above / 2) * unit))
        slopes.append(round(change * unit))
    return Table(name, tuple(intercepts), tuple(slopes))


EXP2 = _table("exp2", lambda x: 2.0**x, lambda slope: math.log2(slope / math.log(2)))
RECIPROCAL = _table("reciprocal", lambda x: 1 / (1 + x), lambda slope: (-slope) ** -0.5 - 1)
