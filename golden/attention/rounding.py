"""The engine's rounding of fixed-point numbers: to the nearest, ties up, one bit added to those kept."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["nearest", "shifted"]

_MOST_SHIFT = 62  # beyond it every sum is 0


def nearest(x: NDArray, exponent: ArrayLike) -> NDArray[np.int64]:
    """Round to multiples of 2^exponent: floor(x / 2^exponent + 1/2).

    Args:
        x: float64 of at most 40 significant bits, magnitudes below 2^(62 + exponent).
        exponent: of a shape that broadcasts with ``x``.
    """
    return np.floor(x * np.exp2(-np.asarray(exponent, np.float64)) + 0.5).astype(np.int64)


def shifted(x: NDArray[np.int64], places: ArrayLike) -> NDArray[np.int64]:
    """Integers below 2^61 in magnitude divided by 2^places, places >= 0: floor(x / 2^places + 1/2)."""
    places = np.minimum(np.asarray(places, np.int64), _MOST_SHIFT)
    return x + (np.int64(1) << places >> 1) >> places
