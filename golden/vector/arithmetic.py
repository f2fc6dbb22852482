"""Float32 sums and products as the vector unit works them out, bit for bit.

IEEE 754 binary32, to nearest even, but for two things: a magnitude below 2^-126, of an operand or of an exact
result, counts as zero of its sign; and every NaN that comes out is 0x7FC00000.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NAN", "add", "flushed", "multiply"]

NAN = np.uint32(0x7FC00000)
"""Bits of the only NaN that comes out."""
_SMALLEST = 2.0**-126

Array = NDArray[np.float32]


def flushed(x: ArrayLike) -> Array:
    """Float32 numbers without subnormals, which are zeros of their sign, and with one NaN."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    exponent = bits & 0x7F800000
    nan = (exponent == 0x7F800000) & (bits & 0x7FFFFF != 0)
    return (
        np.where(nan, NAN, np.where(exponent == 0, bits & 0x80000000, bits))
        .astype(np.uint32)
        .view(np.float32)
    )


def add(a: ArrayLike, b: ArrayLike) -> Array:
    """Sums; a difference of equal numbers is +0, a sum of two -0 is -0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return flushed(np.add(flushed(a), flushed(b), dtype=np.float32))


def multiply(a: ArrayLike, b: ArrayLike) -> Array:
    """Products; zero by infinity is NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        exact = np.multiply(flushed(a), flushed(b), dtype=np.float64)
        exact = np.where(np.abs(exact) < _SMALLEST, np.copysign(0.0, exact), exact)
        return flushed(exact.astype(np.float32))
