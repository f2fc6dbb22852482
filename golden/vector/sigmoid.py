"""Sigmoid: 1 / (1 + 2^-t) with t = log2(e) a, of the table functions.

Roundings, in order:

1. t = a * ``LOG2E``, a float32 product;
2. |t| to units of 2^-18, down, at most 2^25 - 1 of them (also for NaN), and u = 2^-(|t| + 2^-19) from the
   table of exp2, down to 23 fraction bits; below 2^-126 it is 0;
3. r = 1 / (1 + u), of u in units of 2^-18, down, from the table of the reciprocal, down to 24 significant
   bits; exactly 1 where nothing of u is left;
4. r where t is positive, otherwise the float32 product r * u.

Largest relative error of the sigmoid of a finite a from -87: 2^-16.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.numbers.tables import FINE_EXP2, FINE_RECIPROCAL
from golden.vector.arithmetic import multiply

__all__ = ["LOG2E", "factors", "sigmoid"]

LOG2E = np.float32(1.4426950408889634)
_BITS = FINE_EXP2.shape.argument_bits
_VALUE_BITS = FINE_EXP2.shape.value_bits
_INTEGER_BITS = 7
_FRACTION = 23
_BIAS = 127

Array = NDArray[np.float32]


def factors(t: ArrayLike) -> tuple[Array, Array]:
    """The two float32 factors r and u, or r and 1, of a sigmoid, in the shape of ``t``.

    Args:
        t: float32, log2(e) times the sigmoid's argument.
    """
    bits = np.asarray(t, np.float32).view(np.uint32).astype(np.int64)
    field, significand = bits >> 23 & 0xFF, bits & 0x7FFFFF | 0x800000
    right = _BIAS + _FRACTION - _BITS - field
    fixed = np.where(right < 0, significand << np.clip(-right, 0, 24), significand >> np.clip(right, 0, 24))
    fixed = np.where(field >= _BIAS + _INTEGER_BITS, (1 << _INTEGER_BITS + _BITS) - 1, fixed)

    power = ~fixed
    exponent, argument = power >> _BITS, power & (1 << _BITS) - 1
    fraction = (FINE_EXP2(argument) >> _VALUE_BITS - _FRACTION) - (1 << _FRACTION)
    field = exponent + _BIAS
    u = np.where(field > 0, field << _FRACTION | fraction, 0)
    below = (fraction | 1 << _FRACTION) >> np.minimum(_FRACTION - _BITS - exponent, 31)
    value = FINE_RECIPROCAL(below) >> _VALUE_BITS - _FRACTION - 1
    one = _BIAS << _FRACTION
    r = np.where(below == 0, one, (_BIAS - 1) << _FRACTION | value & (1 << _FRACTION) - 1)
    u = np.where(bits >> 31 == 1, u, one)
    return r.astype(np.uint32).view(np.float32), u.astype(np.uint32).view(np.float32)


def sigmoid(a: ArrayLike) -> Array:
    """Sigmoids of float32 numbers, in the shape of ``a``; NaN has one too, 1 or 0."""
    return multiply(*factors(multiply(a, LOG2E)))
