"""Table functions: smooth functions on [1, 2) or [0, 1) by a straight line in each of 16 or 128 segments.

A function's argument is a fraction of 12 bits. Its four leading bits choose a row (intercept, slope), its
eight other bits are the place within the segment, so that a circuit needs a memory of 16 rows and one
multiplier for all functions:

    value = intercept[segment] * 2^8 + slope[segment] * place        in units of 2^-24

Fine functions have arguments of 18 bits, 128 segments and values in units of 2^-29.

Nothing is rounded but the rows, to 16 fraction bits (fine ones: 18). They are the lines with the least
largest error in their segment: for a convex function the slope of the chord, halfway between the chord and
the tangent parallel to it. No fine line goes below 1 (exp2) or 1/2 (reciprocal), so that a value's leading
bit is always the same. Relative errors over all arguments, for the function of the truncated argument (fine
ones: of the middle of what is truncated to it):

===============  ====================  =============
function         value                 largest error
===============  ====================  =============
exp2             2^fraction            1.3e-4
reciprocal       1 / (1 + fraction)    5.0e-4
fine_exp2        2^fraction            3.3e-6
fine_reciprocal  1 / (1 + fraction)    9.2e-6
===============  ====================  =============

``exp2`` is used as it is. A reciprocal is corrected once (``golden.attention.division``). The fine ones make
a sigmoid (``golden.vector.sigmoid``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ARGUMENT_BITS",
    "EXP2",
    "FINE_EXP2",
    "FINE_RECIPROCAL",
    "RECIPROCAL",
    "SEGMENT_BITS",
    "VALUE_BITS",
    "Shape",
    "Table",
]

ARGUMENT_BITS = 12
"""Fraction bits of an argument."""
SEGMENT_BITS = 4
"""Leading bits of an argument that choose the row."""
VALUE_BITS = 24
"""Fraction bits of a value."""


@dataclass(frozen=True)
class Shape:
    """How fine a function is.

    Attributes:
        argument_bits: fraction bits of an argument.
        segment_bits: leading bits of an argument that choose the row.
        row_bits: fraction bits of a row.
    """

    argument_bits: int
    segment_bits: int
    row_bits: int

    @property
    def place_bits(self) -> int:
        """Bits of the place within a segment."""
        return self.argument_bits - self.segment_bits

    @property
    def value_bits(self) -> int:
        """Fraction bits of a value."""
        return self.row_bits + self.place_bits


Floats = NDArray[np.float64]

COARSE = Shape(ARGUMENT_BITS, SEGMENT_BITS, VALUE_BITS - (ARGUMENT_BITS - SEGMENT_BITS))
FINE = Shape(argument_bits=18, segment_bits=7, row_bits=18)


@dataclass(frozen=True)
class Table:
    """One function's rows.

    Attributes:
        name: of the function.
        intercepts: value at the begin of each segment, in units of a row; 0..2.
        slopes: change from a segment's begin to its end, signed, in units of a row.
        shape: how fine it is.
    """

    name: str
    intercepts: tuple[int, ...]
    slopes: tuple[int, ...]
    shape: Shape = COARSE

    def __call__(self, argument: ArrayLike) -> NDArray[np.int64]:
        """Values in units of 2^-24 (fine ones: 2^-29).

        Args:
            argument: integers 0..4095, in units of 2^-12 (fine ones: 0..2^18 - 1, of 2^-18).
        """
        argument, bits = np.asarray(argument, np.int64), self.shape.place_bits
        segment, place = argument >> bits, argument & (1 << bits) - 1
        rows = np.array([self.intercepts, self.slopes])
        return (rows[0][segment] << bits) + rows[1][segment] * place


def _table(name: str, function: Callable[[float], float], touches: Callable[[float], float]) -> Table:
    """The rows of a convex function.

    Args:
        name: of the function.
        function: of the fraction.
        touches: slope to the fraction at which the function has that slope.
    """
    unit, width = 1 << COARSE.row_bits, 1 / (1 << SEGMENT_BITS)
    intercepts, slopes = [], []
    for segment in range(1 << SEGMENT_BITS):
        begin = segment * width
        change = function(begin + width) - function(begin)
        touch = touches(change / width)
        above = function(begin) + change * (touch - begin) / width - function(touch)
        slopes.append(round(change * unit))
        intercepts.append(round((function(begin) - above / 2) * unit))
    return Table(name, tuple(intercepts), tuple(slopes))


def _fitted(name: str, function: Callable[[Floats], Floats], least: float) -> Table:
    """The rows of a fine function with the least largest error at the middle of what arguments stand for.

    Args:
        name: of the function.
        function: of fractions.
        least: no line goes below it, so that the leading bit of a value is always the same.
    """
    unit, count = 1 << FINE.row_bits, 1 << FINE.place_bits
    wanted = function((np.arange(1 << FINE.argument_bits) + 0.5) / (1 << FINE.argument_bits))
    ends = function(np.arange((1 << FINE.segment_bits) + 1) / (1 << FINE.segment_bits))
    wanted = wanted.reshape(-1, count) * unit
    chords = np.diff(ends) * unit
    slopes = np.stack([np.floor(chords), np.ceil(chords)])
    rises = slopes[..., None] * np.arange(count) / count
    rest = wanted - rises
    intercepts = np.rint((rest.max(axis=-1) + rest.min(axis=-1)) / 2)
    intercepts = np.maximum(intercepts, least * unit - np.minimum(slopes, 0))
    errors = np.abs((intercepts[..., None] + rises) / wanted - 1).max(axis=-1)
    first, change = (
        tuple(int(number) for number in np.where(errors[0] < errors[1], each[0], each[1]))
        for each in (intercepts, slopes)
    )
    return Table(name, first, change, FINE)


EXP2 = _table("exp2", lambda x: 2.0**x, lambda slope: math.log2(slope / math.log(2)))
RECIPROCAL = _table("reciprocal", lambda x: 1 / (1 + x), lambda slope: (-slope) ** -0.5 - 1)
FINE_EXP2 = _fitted("fine_exp2", np.exp2, 1.0)
FINE_RECIPROCAL = _fitted("fine_reciprocal", lambda x: 1 / (1 + x), 0.5)
