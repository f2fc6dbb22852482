"""One bit an element: the sign, with the group's mean magnitude as scale (VidKV, arXiv 2503.16257, Eq. 5).

    code  = 1 if x >= 0, -0 included, else 0
    scale = mean |x| of the group, rounded once (``golden.kv.magnitudes``)

A code decodes to -scale or scale ("scaled", the default), or to 0 or scale ("published": the formula as VidKV
prints and runs it, although that misses the negative half). VidKV adds magnitudes in float32 where the sum
here is exact: the scales differ by one unit in the last place at most.

As ``code * step + offset`` a scaled code has step 2 * scale and offset -scale.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized, grouped, per_group

__all__ = ["DECODES", "dequantize", "line", "quantize"]

DECODES = ("scaled", "published")


def quantize(x: ArrayLike, axis: str = "token", group: int | None = 32) -> Quantized:
    """Quantise keys or values to their signs.

    Args:
        x: real [..., T, D], rounded to float16 first.
        axis, group: as for ``golden.kv.affine.quantize``; a group has at most 16384 elements.

    Returns:
        Codes and scales; the zeros are all 0.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    half, elements, reduced = magnitudes.grouped_half(x, axis, group)
    length = elements.shape[reduced]
    scale = magnitudes.mean(magnitudes.integers(elements).sum(reduced), length)
    scale = per_group(scale, half.shape, axis)
    return Quantized((half >= 0).astype(np.uint8), scale, np.zeros_like(scale))


def dequantize(
    codes: NDArray[np.uint8],
    scale: NDArray[np.float16],
    zero: NDArray[np.float16],
    axis: str = "token",
    group: int | None = 32,
    decode: str = "scaled",
) -> NDArray[np.float16]:
    """Decode, exactly: float16 [..., T, D]; zeros have no meaning.

    Raises:
        ValueError: an argument out of range.
    """
    elements, reduced = grouped(codes, axis, group)
    kept = [size for place, size in enumerate(elements.shape) if place != reduced]
    step, offset = line(np.expand_dims(scale.reshape(kept), reduced), decode)
    return (elements * step + offset).astype(np.float16).reshape(codes.shape)


def line(scale: NDArray[np.float16], decode: str = "scaled") -> tuple[NDArray, NDArray]:
    """Step and offset, float64, so that a code stands for ``code * step + offset``."""
    if decode not in DECODES:
        raise ValueError(f"decode {decode!r} must be one of {', '.join(DECODES)}")
    wide = scale.astype(np.float64)
    return (2 * wide, -wide) if decode == "scaled" else (wide, np.zeros_like(wide))
