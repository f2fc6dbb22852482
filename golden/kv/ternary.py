"""Ternary codes: zero, plus or minus, by a threshold on the magnitude (VidKV, arXiv 2503.16257, section 4.3).

    threshold = gamma * mean |x| of the group
    trit      = 1 where x > threshold, -1 where x < -threshold, else 0;   codes 0, 1, 2 are trits 0, 1, -1

gamma is a whole number of 256ths (0.7 becomes 179/256; the paper has 0.7, its code 0.5). Nothing is rounded:
with magnitudes X in units of 2^-24, n elements and their sum S the test is ``256 * n * X > 256 * gamma * S``.

A trit decodes to

* itself times the mean of the magnitudes above the threshold ("kept", the default, our repair: it is the
  scale with the least squared error for these trits);
* itself times the mean of all magnitudes ("scaled");
* itself ("published": VidKV computes a scale but does not apply it).

Means are exact quotients, rounded once (``golden.kv.magnitudes``); a circuit divides by a count of at most
the group's length once a group, so that a table of reciprocals or eleven subtract steps suffice.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized, grouped, per_group

__all__ = ["DECODES", "TRITS", "dequantize", "gamma_units", "line", "quantize"]

DECODES = ("kept", "scaled", "published")
TRITS = np.array([0, 1, -1], np.int8)
"""Trit of every code, as the data type ``ternary`` has them."""

_GAMMA_UNITS = 256


def quantize(
    x: ArrayLike, axis: str = "token", group: int | None = 32, gamma: float = 0.7, decode: str = "kept"
) -> Quantized:
    """Quantise keys or values to trits.

    Args:
        x: real [..., T, D], rounded to float16 first.
        axis, group: as for ``golden.kv.affine.quantize``; a group has at most 16384 elements.
        gamma: threshold in mean magnitudes, rounded to 256ths: 0..255/256.
        decode: which scale to keep, one of ``DECODES``; "published" keeps ones.

    Returns:
        Codes 0..2 and scales; the zeros are all 0.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    factor = gamma_units(gamma)
    if decode not in DECODES:
        raise ValueError(f"decode {decode!r} must be one of {', '.join(DECODES)}")
    half, elements, reduced = magnitudes.grouped_half(x, axis, group)
    length = elements.shape[reduced]
    sizes = magnitudes.integers(elements)
    total = sizes.sum(reduced, keepdims=True)
    large = _GAMMA_UNITS * length * sizes > factor * total
    codes = large.astype(np.uint8) << (elements < 0)
    if decode == "kept":
        scale = magnitudes.mean((sizes * large).sum(reduced), large.sum(reduced))
    elif decode == "scaled":
        scale = magnitudes.mean(total.squeeze(reduced), length)
    else:
        scale = np.ones(total.squeeze(reduced).shape, np.float16)
    scale = per_group(scale, half.shape, axis)
    return Quantized(codes.reshape(half.shape), scale, np.zeros_like(scale))


def dequantize(
    codes: NDArray[np.uint8],
    scale: NDArray[np.float16],
    zero: NDArray[np.float16],
    axis: str = "token",
    group: int | None = 32,
) -> NDArray[np.float16]:
    """Decode, exactly: float16 [..., T, D]; zeros have no meaning.

    Raises:
        ValueError: an argument out of range, or a code above 2.
    """
    if codes.max(initial=0) > 2:
        raise ValueError(f"code {codes.max()} must be 0..2")
    elements, reduced = grouped(codes, axis, group)
    kept = [size for place, size in enumerate(elements.shape) if place != reduced]
    return (TRITS[elements] * np.expand_dims(scale.reshape(kept), reduced)).reshape(codes.shape)


def line(scale: NDArray[np.float16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step and offset, float64, so that a trit stands for ``trit * step + offset``."""
    wide = scale.astype(np.float64)
    return wide, np.zeros_like(wide)


def gamma_units(gamma: float) -> int:
    """A threshold in whole 256ths.

    Raises:
        ValueError: not within 0..255/256.
    """
    units = round(Fraction(gamma) * _GAMMA_UNITS) if np.isfinite(gamma) else -1
    if not 0 <= units < _GAMMA_UNITS:
        raise ValueError(f"gamma {gamma} must be 0..{_GAMMA_UNITS - 1}/{_GAMMA_UNITS}")
    return units
