"""Dot product of sixteen pairs of FP16 numbers, added to an FP32 accumulator.

The way in which matrix units that fill an area multiply FP16 (NVIDIA's, as Fasi, Higham, Mikaitis and
Pranesh measured them: PeerJ Computer Science 7:e330, 2021): exact products, aligned to the largest of their
exponents, one sum of integers, one FP32 accumulation. Three things are lost, each in one named place:

- ``align``: what lies below a window of WINDOW bits under the largest product's top is dropped, from
  magnitudes, so towards zero. The largest product always fits; the sum of what is in the window is exact.
- ``keep``: a sum of more than 24 significant bits is cut off to 24, towards zero.
- The accumulation is rounded once to nearest even, as in ``golden.baseline.fp16_mac``.

Exponents are those of the operands' fields: a subnormal, and zero, counts as one of the smallest normal
exponent. Its product may have leading zeros, and products beside it then have less room below it.

An operand that is infinite or NaN makes the sum NaN until it restarts, as in the tile; matrix units that
tell infinities apart look at every fraction for it. Overflow cannot occur: from 2**60 on, half a unit in the
last place is 2**36, which is more than a sum of sixteen products. FP32 subnormals cannot either, every sum
being a multiple of 2**-48.
"""

from collections.abc import Sequence

import numpy as np

from golden.baseline import fp16_mac

__all__ = ["LANES", "NAN", "PRODUCT", "WINDOW", "accumulate", "align", "dot", "keep"]

LANES = 16
"""Products of one sum."""

PRODUCT = 22
"""Bits of the product of two significands."""

WINDOW = 24
"""Bits that an aligned product has; the largest product has its PRODUCT at the top.

Relative error of dot products of 512 normal numbers: 6.1e-7 (22), 3.1e-7 (23), 1.7e-7 (24), 1.3e-7 (25);
one product at a time, rounded each time as ``fp16_mac`` does: 4.0e-7.
"""

NAN = fp16_mac.NAN
_SIGNIFICAND = 24
_QUIET = 0x7F800000


def align(a: Sequence[int], b: Sequence[int], window: int = WINDOW) -> tuple[int, int]:
    """Sum of products in the window under the largest exponent: (integer, exponent of its unit).

    Args:
        a: LANES finite FP16 numbers, as bits.
        b: as many.
        window: bits of an aligned product, at least PRODUCT.
    """
    products = []
    for x, y in zip(a, b, strict=True):
        exponents = [max(bits >> 10 & 0x1F, 1) for bits in (x, y)]
        factors = [bits & 0x3FF | (bits & 0x7C00 > 0) << 10 for bits in (x, y)]
        products.append((sum(exponents), factors[0] * factors[1], (x ^ y) >> 15))
    largest = max(exponent for exponent, _, _ in products)
    guard = window - PRODUCT
    aligned = [(product << guard) >> (largest - exponent) for exponent, product, _ in products]
    total = sum(-value if sign else value for value, (_, _, sign) in zip(aligned, products, strict=True))
    return total, largest - 50 - guard


def keep(total: int) -> int:
    """The upper 24 significant bits of a sum, the others zero."""
    excess = max(abs(total).bit_length() - _SIGNIFICAND, 0)
    kept = abs(total) >> excess << excess
    return -kept if total < 0 else kept


def accumulate(acc: int, a: Sequence[int], b: Sequence[int], window: int = WINDOW) -> int:
    """FP32 bits of the accumulator after one sum of products.

    Args:
        acc: FP32 bits that earlier calls gave, or 0 to start.
        a: LANES FP16 numbers, as bits.
        b: as many.
        window: bits of an aligned product, at least PRODUCT.

    Raises:
        ValueError: not LANES operands; a window that cuts off the largest product; ``acc`` is finite, but no
            sum of FP16 products.
    """
    if not len(a) == len(b) == LANES:
        raise ValueError(f"a and b must have {LANES} numbers, got {len(a)} and {len(b)}")
    if window < PRODUCT:
        raise ValueError(f"window must be at least {PRODUCT} bits, got {window}")
    if acc & _QUIET == _QUIET or any(bits & 0x7C00 == 0x7C00 for bits in (*a, *b)):
        return NAN
    total, unit = align(a, b, window)
    kept, places = keep(total), unit - fp16_mac.UNIT
    return fp16_mac.add(acc, kept << places if places >= 0 else kept >> -places)


def dot(a: np.ndarray, b: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """FP32 dot products along the last axis of two equally shaped FP16 arrays, LANES products at a time.

    Args:
        a: FP16 numbers, any shape; the last axis is filled up with zeros to a multiple of LANES.
        b: as many.
        window: bits of an aligned product, at least PRODUCT.

    Raises:
        ValueError: different shapes, or a window that cuts off the largest product.
    """
    a, b = np.asarray(a, np.float16), np.asarray(b, np.float16)
    if a.shape != b.shape:
        raise ValueError(f"a and b have different shapes: {a.shape} and {b.shape}")
    padding = [(0, 0)] * (a.ndim - 1) + [(0, -a.shape[-1] % LANES)]
    a, b = np.pad(a, padding).view(np.uint16), np.pad(b, padding).view(np.uint16)
    rows = np.zeros(a.shape[:-1], np.uint32)
    for index in np.ndindex(rows.shape):
        acc = 0
        for x, y in zip(a[index].reshape(-1, LANES), b[index].reshape(-1, LANES), strict=True):
            acc = accumulate(acc, x.tolist(), y.tolist(), window)
        rows[index] = acc
    return rows.view(np.float32)
