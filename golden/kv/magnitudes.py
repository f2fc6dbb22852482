"""Magnitudes of float16 elements as integers, and their mean: the scale of 1-bit and ternary codes.

A magnitude is a whole number of units of 2^-24, the smallest float16, below 2^40. Sums are integers, so their
order does not matter. A mean is rounded once, to nearest even, to 11 significant bits and to whole units:
it is a finite float16.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.affine import grouped

__all__ = ["LARGEST", "LONGEST_GROUP", "finite_half", "grouped_half", "integers", "mean"]

LONGEST_GROUP = 1 << 14
"""Elements of a group: with it every product below is less than 2^63."""

LARGEST = 65504.0
"""Largest finite float16."""

_UNITS = 2.0**24
_SIGNIFICANT = 11


def finite_half(x: ArrayLike) -> NDArray[np.float16]:
    """Round an array to float16.

    Raises:
        ValueError: an element is a NaN, or infinite in float16.
    """
    with np.errstate(over="ignore"):
        half = np.asarray(x).astype(np.float16, copy=False)
    if not np.isfinite(half).all():
        raise ValueError("elements must be finite in float16: no NaN, magnitudes up to 65504")
    return half


def grouped_half(x: ArrayLike, axis: str, group: int | None) -> tuple[NDArray[np.float16], NDArray, int]:
    """Round an array to float16 and view it as groups.

    Returns:
        The array, its groups and which axis of those is a group's (``golden.kv.affine.grouped``).

    Raises:
        ValueError: an argument out of range, an element that is not finite, or a group that is too long.
    """
    half = finite_half(x)
    elements, reduced = grouped(half, axis, group)
    if elements.shape[reduced] > LONGEST_GROUP:
        raise ValueError(f"group of {elements.shape[reduced]} elements must have at most {LONGEST_GROUP}")
    return half, elements, reduced


def integers(x: NDArray[np.float16]) -> NDArray[np.int64]:
    """Magnitudes in units of 2^-24, int64, exact."""
    return (np.abs(x).astype(np.float64) * _UNITS).astype(np.int64)


def mean(total: NDArray[np.int64], count: NDArray[np.int64] | int) -> NDArray[np.float16]:
    """Mean of ``count`` magnitudes whose sum is ``total`` units; 0 where ``count`` is 0."""
    divisor = np.maximum(count, 1)
    quotient = total // divisor
    remainder = total - quotient * divisor
    shift = np.maximum(np.frexp(quotient.astype(np.float64))[1] - _SIGNIFICANT, 0)
    kept = quotient >> shift
    # twice what is cut off, against the weight of the last bit kept: whole units first, then the remainder
    rest, one = quotient - (kept << shift), np.int64(1) << shift
    tie = np.where(shift > 0, (2 * rest == one) & (remainder == 0), 2 * remainder == divisor)
    above = np.where(
        shift > 0, (2 * rest > one) | ((2 * rest == one) & (remainder > 0)), 2 * remainder > divisor
    )
    rounded = kept + (above | (tie & (kept & 1 == 1)))
    return np.where(np.asarray(count) > 0, np.ldexp(rounded / _UNITS, shift), 0).astype(np.float16)
