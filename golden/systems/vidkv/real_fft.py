"""Fixed-point real Fourier transform of a key's normal channels, or of the query that meets them.

The spectrum of n real numbers repeats itself; the half that does not is packed into n real columns, in the
order that libraries use for it (CMSIS-DSP, Accelerate): F_0, F_(n/2), then the real and the imaginary part of
F_1, F_2, ... Even elements are real parts and odd ones imaginary parts of n/2 complex numbers, which a
transform of radix 2 takes apart again at the end.

Columns of a key are F / n: they never leave float16. Those of a query are F, and twice that but for the
first two, since each of the others stands for two of the full spectrum. Then the dot product of columns is
the dot product of elements (Parseval), and the query alone is transformed, once a step.

Roundings, all of them:

1. elements are aligned to the largest exponent of their vector, with ``GUARD_BITS`` more than float16's
   significand has; to nearest, halves away from zero;
2. cosines have ``TWIDDLE_BITS`` fraction bits, to nearest;
3. sums and differences of a butterfly, exact until then, are rounded to a unit of the aligned elements, to
   nearest, halves upwards. Words grow from stage to stage and are never scaled;
4. halves of even and odd elements' transforms, where they are taken apart, are rounded down to such a unit;
5. a column is rounded to float16, to nearest even, at most 65504.

A column errs by at most 1e-3 of the largest magnitude of the half spectrum, of which float16 itself takes a
quarter, and 2^-24, the smallest float16; both twice where a query's columns count twice.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.numbers import floats

__all__ = ["COSINES", "GUARD_BITS", "LENGTHS", "SIDES", "TWIDDLE_BITS", "columns"]

LENGTHS = (32, 64)
"""Channels that are transformed together: a half or a quarter of 64 and 128."""

SIDES = ("key", "query")

GUARD_BITS = 6
"""Of aligned elements, below float16's 11 significant bits."""

TWIDDLE_BITS = 13

_LONGEST = LENGTHS[-1]

COSINES = tuple(
    int(np.rint(np.cos(2 * np.pi * place / _LONGEST) * (1 << TWIDDLE_BITS)))
    for place in range(_LONGEST // 4 + 1)
)
"""Of the first quarter of a turn, in 64ths of a turn, units of 2^-13."""

Array = NDArray[np.int64]


def columns(x: ArrayLike, side: str) -> NDArray[np.float16]:
    """Transform ``[..., n]`` to as many columns.

    Args:
        x: reals, rounded to float16; n is one of ``LENGTHS``.
        side: "key" or "query".

    Raises:
        ValueError: another length or side, or an element that is not finite in float16.
    """
    half = magnitudes.finite_half(x)
    if not half.ndim or half.shape[-1] not in LENGTHS:
        raise ValueError(f"shape {half.shape} must end with a length of {LENGTHS}")
    if side not in SIDES:
        raise ValueError(f"side {side!r} must be one of {', '.join(SIDES)}")
    elements, exponent = _aligned(half)
    integers = _packed(_complex_transform(elements))
    scale = np.zeros(half.shape[-1], int)
    if side == "key":
        scale -= half.shape[-1].bit_length() - 1
    else:
        scale[2:] += 1
    exact = np.ldexp(integers.astype(np.float64), exponent + scale)
    return np.clip(exact, -magnitudes.LARGEST, magnitudes.LARGEST).astype(np.float16)


def _aligned(half: NDArray[np.float16]) -> tuple[Array, Array]:
    """Elements as integers, and the exponent of their unit, one for each vector."""
    mantissa, field = floats.half_parts(half)
    largest = field.max(-1, keepdims=True)
    doubled = np.abs(mantissa) << GUARD_BITS + 1 >> largest - field
    return np.sign(mantissa) * (doubled + 1 >> 1), largest - floats.HALF_UNIT - GUARD_BITS


def _cosine(turn: Array) -> Array:
    """Cosine of an angle in 64ths of a turn."""
    folded = np.abs((turn + _LONGEST // 2) % _LONGEST - _LONGEST // 2)
    quarter = np.array(COSINES)
    beyond = folded > _LONGEST // 4
    return np.where(
        beyond, -quarter[np.abs(_LONGEST // 2 - folded) % len(quarter)], quarter[folded % len(quarter)]
    )


def _butterfly(first: Array, second: Array, turn: Array) -> tuple[Array, Array]:
    """Sum and difference of complex numbers ``[..., 2]``, the second one turned back by 64ths of a turn."""
    cosine, sine = _cosine(turn), _cosine(turn - _LONGEST // 4)
    real, imaginary = second[..., 0], second[..., 1]
    turned = np.stack([real * cosine + imaginary * sine, imaginary * cosine - real * sine], -1)
    wide, half = first << TWIDDLE_BITS, 1 << TWIDDLE_BITS - 1
    return wide + turned + half >> TWIDDLE_BITS, wide - turned + half >> TWIDDLE_BITS


def _complex_transform(elements: Array) -> Array:
    """Transform of n/2 complex numbers, ``[..., n/2, 2]``, in place from bit-reversed order."""
    count = elements.shape[-1] // 2
    stages = count.bit_length() - 1
    places = np.arange(count)
    reversed_places = sum((places >> stage & 1) << stages - 1 - stage for stage in range(stages))
    words = elements.reshape(*elements.shape[:-1], count, 2)[..., reversed_places, :]
    for stage in range(stages):
        first = places[places >> stage & 1 == 0]
        second = first | 1 << stage
        turn = first % (1 << stage) * (_LONGEST >> stage + 1)
        words[..., first, :], words[..., second, :] = _butterfly(
            words[..., first, :], words[..., second, :], turn
        )
    return words


def _packed(words: Array) -> Array:
    """Columns, of the transform of the complex numbers."""
    count = words.shape[-2]
    place = np.arange(count // 2 + 1)
    one, other = words[..., place, :], words[..., -place, :] * (1, -1)
    # Transforms of even and of odd elements; the latter still times i.
    even, odd = one + other >> 1, one - other >> 1
    upper, lower = _butterfly(even, odd, place * (_LONGEST // 2 // count) + _LONGEST // 4)
    result = np.empty_like(words)
    result[..., place, :] = upper
    result[..., -place[1:], :] = lower[..., 1:, :] * (1, -1)
    result[..., 0, 1] = lower[..., 0, 0]
    return result.reshape(*words.shape[:-2], 2 * count)
