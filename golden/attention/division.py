"""The end: value sums divided by the sum of weights, to float16.

Roundings, in order:

1. the sum of weights to its 17 leading bits x, down: 1 <= x < 2 in units of 2^-16;
2. a first reciprocal r of the 12 leading fraction bits of x from the table (``golden.numbers.tables``), to
   units of 2^-16, ties up;
3. the correction 2 - x * r to units of 2^-20, ties up, and r * (2 - x * r) to units of 2^-16, ties up:
   relative error below 4e-5 in all;
4. a value sum to its 16 leading bits, towards zero;
5. their product to float16, to nearest even, saturating at 65504 in magnitude.

No product has more than 17 by 21 bits.
"""

import numpy as np
from numpy.typing import NDArray

from golden.attention.rounding import shifted
from golden.attention.widths import TOTAL_FRACTION
from golden.numbers import floats
from golden.numbers.tables import ARGUMENT_BITS, RECIPROCAL, VALUE_BITS
from golden.pe.output_converter import convert

__all__ = ["divided", "reciprocal"]

_BITS = 16
_CORRECTION = 20
_LARGEST_HALF = np.float16(65504)


def reciprocal(total: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reciprocals of sums of weights.

    Args:
        total: in units of 2^-32, at least 1.

    Returns:
        Integers r up to 2^16 and exponents e: 1 / total is about r * 2^e, total taken in its units.
    """
    length = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    x = _leading(total, _BITS + 1)
    first = RECIPROCAL(x - (1 << _BITS) >> _BITS - ARGUMENT_BITS)
    first = shifted(first, VALUE_BITS - _BITS)
    factor = shifted((2 << 2 * _BITS) - x * first, 2 * _BITS - _CORRECTION)
    return shifted(first * factor, _CORRECTION), TOTAL_FRACTION - (length - 1) - _BITS


def divided(
    sums: NDArray[np.int64], exponent: NDArray[np.int64], total: NDArray[np.int64]
) -> NDArray[np.float16]:
    """Quotients of value sums [N, D] and sums of weights [N]; +0 where both are 0, without any token.

    Args:
        sums: magnitudes below 2^50, in units of 2^exponent.
        exponent: [N].
        total: in units of 2^-32.
    """
    factor, place = reciprocal(np.maximum(total, 1))
    magnitude = np.abs(sums)
    dropped = np.maximum(np.frexp(magnitude.astype(np.float64))[1].astype(np.int64) - _BITS, 0)
    products = (magnitude >> dropped) * factor[:, None]
    values = np.where(sums < 0, -products, products)
    place = dropped + (exponent + place)[:, None]
    bits, overflow = convert(values, place, np.zeros(values.shape, bool), "fp16")
    half = floats.decode(bits, "fp16").astype(np.float16)
    return np.where(overflow, np.copysign(_LARGEST_HALF, half), half)


def _leading(x: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The leading bits of positive integers, shorter ones filled up with zeros."""
    places = np.frexp(x.astype(np.float64))[1].astype(np.int64) - bits
    return x >> np.maximum(places, 0) << np.maximum(-places, 0)
