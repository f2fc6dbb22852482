"""Groups of 32 tokens of a channel, and the two bits that anomalous channels and protected tokens get."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import affine, magnitudes
from golden.kv.affine import Quantized
from golden.kv.rules import RULES

__all__ = ["GROUP", "SCALE_BITS", "affine_bits", "half", "restored", "split", "two_bits"]

GROUP = 32
"""Tokens of a group."""

SCALE_BITS = 16

_BITS = 2


def half(x: ArrayLike) -> NDArray[np.float16]:
    """Round [H, T, D] to float16.

    Raises:
        ValueError: another shape, an empty axis, or an element that is not finite in float16.
    """
    rounded = magnitudes.finite_half(x)
    if rounded.ndim != 3 or 0 in rounded.shape:
        raise ValueError(f"shape {rounded.shape} must be [heads, tokens, channels], without an empty axis")
    return rounded


def split(half: NDArray[np.float16]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Whole groups of tokens, and the rest."""
    whole = half.shape[1] // GROUP * GROUP
    return half[:, :whole], half[:, whole:]


def two_bits(x: NDArray[np.float16], rule: str) -> Quantized:
    """Quantise [H, 32 G, n] by an affine rule; there may be nothing.

    Raises:
        ValueError: no such rule, or a group whose range it cannot hold.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} must be one of {', '.join(RULES)}")
    if x.size:
        return affine.quantize(x, _BITS, "channel", GROUP, rule)
    none = np.empty((x.shape[0], x.shape[1] // GROUP, x.shape[2]), np.float16)
    return Quantized(x.astype(np.uint8), none, none)


def restored(quantized: Quantized, rule: str) -> NDArray[np.floating]:
    """What ``two_bits`` made, decoded as the rule does."""
    if not quantized.codes.size:
        return quantized.codes.astype(np.float64)
    return affine.dequantize(*quantized, _BITS, "channel", GROUP, rule)


def affine_bits(quantized: Quantized) -> int:
    """Bits of what ``two_bits`` made."""
    return _BITS * quantized.codes.size + 8 * (quantized.scale.nbytes + quantized.zero.nbytes)
