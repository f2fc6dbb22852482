"""Ranges of channels as 32-bit scores, by which the anomalous ones are chosen.

A range of float16 keys is a whole number of 2^-24 below 2^41. Its score keeps 29 significant bits and the
exponent, as a float's bits do: scores are in the order of the ranges, and equal only where these agree in
their first 29 bits. Up to 2^29 units, a range of 32, a score is the range itself.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.selection import top_k

__all__ = ["SIGNIFICANT_BITS", "hardware_mask", "scores"]

SIGNIFICANT_BITS = 29


def scores(k: ArrayLike) -> NDArray[np.uint32]:
    """Scores of the channels of keys ``[H, T, D]``, rounded to float16, over all heads and tokens.

    Raises:
        ValueError: another shape, an empty axis, or an element that is not finite in float16.
    """
    half = magnitudes.finite_half(k)
    if half.ndim != 3 or 0 in half.shape:
        raise ValueError(f"keys of shape {half.shape} must be [heads, tokens, channels], none empty")
    units = np.ldexp(half.astype(np.float64), 24).astype(np.int64)
    extent = units.max((0, 1)) - units.min((0, 1))
    exponent = np.maximum(np.frexp(extent.astype(np.float64))[1] - SIGNIFICANT_BITS, 0)
    return ((exponent.astype(np.int64) << SIGNIFICANT_BITS - 1) + (extent >> exponent)).astype(np.uint32)


def hardware_mask(k: ArrayLike, count: int) -> NDArray[np.bool_]:
    """The ``count`` channels of the largest scores, of equal ones the lowest.

    It is ``channel_mask`` unless two ranges differ by less than 2^-28 of themselves: only where a channel's
    extremes are a factor of 2^17 apart.

    Raises:
        ValueError: as ``scores``, or a negative count.
    """
    return top_k(scores(k), count)
