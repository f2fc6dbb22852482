"""FP16 multiply, FP32 accumulate: one exact product, one rounding to nearest even for every accumulation.

The accumulator starts from +0 and only sums FP16 products enter it, so each value it can hold is a multiple
of 2**-48 (the product of two smallest subnormals): FP32 subnormals never occur, every tiny result is exact.
It cannot overflow either: products are below 2**32, and from 2**56 on half a unit in the last place is
2**32, so the accumulator stops growing there. Infinity comes from infinite operands only.
"""

import numpy as np

__all__ = ["NAN", "UNIT", "accumulate", "add", "dot", "product"]

UNIT = -48
"""Every product and every finite accumulator is a multiple of 2**UNIT."""

NAN = 0x7FC00000
"""Bits of the only NaN that is returned."""

_INFINITY = 0x7F800000
_SIGN = 1 << 31
_FRACTION, _SIGNIFICAND, _BIAS = 23, 24, 127


def product(a: int, b: int) -> int | None:
    """Exact product of two FP16 numbers, given as bits, in units of 2**UNIT; None unless both are finite."""
    values = []
    for bits in a, b:
        fraction, exponent = bits & 0x3FF, bits >> 10 & 0x1F
        if exponent == 0x1F:
            return None
        magnitude = fraction if exponent == 0 else (fraction | 0x400) << (exponent - 1)
        values.append(-magnitude if bits >> 15 else magnitude)
    return values[0] * values[1]


def accumulate(acc: int, a: int, b: int) -> int:
    """FP32 bits of ``acc + a * b``.

    Args:
        acc: FP32 bits that earlier calls gave, or 0 to start.
        a: FP16 bits.
        b: FP16 bits.

    Raises:
        ValueError: ``acc`` is finite, but no sum of FP16 products.
    """
    added = product(a, b)
    exponent = acc >> _FRACTION & 0xFF
    if added is None or exponent == 0xFF:
        return _special(acc, a, b)
    return add(acc, added)


def add(acc: int, added: int) -> int:
    """FP32 bits of a finite accumulator plus an integer in units of 2**UNIT, rounded to nearest even.

    Raises:
        ValueError: ``acc`` is no sum of FP16 products.
    """
    total = _integer(acc) + added
    magnitude = abs(total)
    excess = max(magnitude.bit_length() - _SIGNIFICAND, 0)
    kept, rest, half = magnitude >> excess, magnitude & ((1 << excess) - 1), (1 << excess) >> 1
    if excess and (rest > half or (rest == half and kept & 1)):
        kept += 1
    return _pack(kept << excess, total < 0)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """FP32 dot products along the last axis of two equally shaped FP16 arrays, in index order."""
    a, b = np.asarray(a, np.float16), np.asarray(b, np.float16)
    if a.shape != b.shape:
        raise ValueError(f"a and b have different shapes: {a.shape} and {b.shape}")
    rows = np.zeros(a.shape[:-1], np.uint32)
    for index in np.ndindex(rows.shape):
        acc = 0
        for x, y in zip(a[index].view(np.uint16).tolist(), b[index].view(np.uint16).tolist(), strict=True):
            acc = accumulate(acc, x, y)
        rows[index] = acc
    return rows.view(np.float32)


def _integer(acc: int) -> int:
    """A finite accumulator in units of 2**UNIT."""
    fraction, exponent = acc & ((1 << _FRACTION) - 1), acc >> _FRACTION & 0xFF
    if exponent == 0 and fraction == 0:
        return 0
    significand, places = fraction | 1 << _FRACTION, exponent - _BIAS - _FRACTION - UNIT
    if exponent == 0 or (places < 0 and significand & ((1 << -places) - 1)):
        raise ValueError(f"acc {acc:#010x} is not a multiple of 2**{UNIT}")
    magnitude = significand << places if places >= 0 else significand >> -places
    return -magnitude if acc & _SIGN else magnitude


def _pack(magnitude: int, negative: bool) -> int:
    """FP32 bits of a magnitude of at most 24 significant bits in units of 2**UNIT; zero is +0."""
    if magnitude == 0:
        return 0
    length = magnitude.bit_length()
    fraction = (magnitude << _SIGNIFICAND >> length) & ((1 << _FRACTION) - 1)
    return (negative << 31) | (length - 1 + UNIT + _BIAS) << _FRACTION | fraction


def _special(acc: int, a: int, b: int) -> int:
    """FP32 bits of the sum when an operand or the accumulator is not finite."""
    a_size, b_size, acc_size = a & ~0x8000, b & ~0x8000, acc & ~_SIGN
    if a_size > 0x7C00 or b_size > 0x7C00 or acc_size > _INFINITY:
        return NAN
    signs = {acc >> 31} if acc_size == _INFINITY else set()
    if 0x7C00 in (a_size, b_size):
        if 0 in (a_size, b_size):
            return NAN
        signs.add((a ^ b) >> 15)
    return NAN if len(signs) > 1 else signs.pop() << 31 | _INFINITY
