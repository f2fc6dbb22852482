"""Keys or values of a layer whose important tokens have more bits than the others.

The tokens of a tier lie together, in token order, and are quantised with nothing of the other tier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import affine, magnitudes
from golden.kv.affine import Quantized

__all__ = ["HALF", "Grouping", "Tier", "Tiered", "compress", "selected"]

HALF = 16
"""Bits of a tier that is not quantised: float16."""


@dataclass(frozen=True)
class Grouping:
    """Which elements of a tier share a scale.

    Attributes:
        rule: a name in ``golden.kv.affine.RULES``.
        axis: "channel", all tokens of the tier in one channel of one head, or "token".
        parts: of axis "token" the groups that a head's channels are cut into; None: one over all heads.
    """

    rule: str
    axis: str
    parts: int | None = 1

    def quantize(self, x: NDArray[np.float16], bits: int) -> Quantized:
        """Codes in a shape of the grouping's own; x is ``[H, n, D]``, n at least 1."""
        return affine.quantize(self._fold(x), bits, self.axis, None, self.rule)

    def decode(self, quantized: Quantized, bits: int, shape: tuple[int, ...]) -> NDArray[np.floating]:
        """Values ``[H, n, D]`` in the rule's precision."""
        values = affine.dequantize(*quantized, bits, self.axis, None, self.rule)
        if self.parts is None:
            return values.reshape(shape[1], shape[0], shape[2]).swapaxes(0, 1)
        return values.reshape(shape)

    def _fold(self, x: NDArray[np.float16]) -> NDArray[np.float16]:
        heads, tokens, channels = x.shape
        if self.parts is None:
            return x.swapaxes(0, 1).reshape(tokens, heads * channels)
        if channels % self.parts:
            raise ValueError(f"channels {channels} must be a multiple of {self.parts}")
        return x.reshape(heads, tokens * self.parts, channels // self.parts)


@dataclass(frozen=True)
class Tier:
    """Tokens that are stored in one way.

    Attributes:
        bits: of a code, or ``HALF``.
        shape: ``(H, n, D)``.
        stored: what lies there: codes with their scales and zeros, or float16 ``[H, n, D]``.
    """

    bits: int
    shape: tuple[int, ...]
    stored: Quantized | NDArray[np.float16]

    @property
    def size(self) -> int:
        """Bits, scales and zeros included."""
        if not isinstance(self.stored, Quantized):
            return HALF * self.stored.size
        codes, scale, zero = self.stored
        return self.bits * codes.size + 8 * (scale.nbytes + zero.nbytes)


@dataclass(frozen=True)
class Tiered:
    """Compressed keys or values of a layer.

    Attributes:
        grouping: of what is quantised.
        order: intp ``[H, T]``, the tokens of every head as they lie: the important ones, then the others.
        tiers: that are not empty, the important one first.
    """

    grouping: Grouping
    order: NDArray[np.intp]
    tiers: tuple[Tier, ...]

    @property
    def elements(self) -> int:
        """Elements of all tiers."""
        return sum(int(np.prod(tier.shape)) for tier in self.tiers)

    @property
    def bits_per_element(self) -> float:
        """Mean bits of an element, scales and zeros included; the map of tiers is not."""
        return sum(tier.size for tier in self.tiers) / self.elements

    def decompress(self) -> NDArray[np.float16]:
        """Values ``[H, T, D]`` in token order."""
        parts = [
            self.grouping.decode(tier.stored, tier.bits, tier.shape)
            if isinstance(tier.stored, Quantized)
            else tier.stored
            for tier in self.tiers
        ]
        places = np.argsort(self.order, -1)[..., None]
        return np.take_along_axis(np.concatenate(parts, 1), places, 1).astype(np.float16)


def selected(x: ArrayLike, important: ArrayLike) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Keys or values as float16 ``[H, T, D]`` and their map ``[H, T]``.

    Raises:
        ValueError: shapes that do not belong together, unequal numbers of important tokens, an element that
            is not finite in float16.
    """
    half, chosen = magnitudes.finite_half(x), np.asarray(important, bool)
    if half.ndim != 3 or not half.size or chosen.shape != half.shape[:2]:
        raise ValueError(
            f"elements and map of shapes {half.shape} and {chosen.shape} must be [H, T, D] and [H, T]"
        )
    counts = chosen.sum(-1)
    if (counts != counts[0]).any():
        raise ValueError(f"important tokens {counts.tolist()} must be as many in every head")
    return half, chosen


def compress(x: ArrayLike, important: ArrayLike, bits: tuple[int, int], grouping: Grouping) -> Tiered:
    """Store keys or values in two tiers.

    Args:
        x: real ``[H, T, D]``, rounded to float16.
        important: bool ``[H, T]``, as many tokens in every head.
        bits: of the important tokens and of the others.
        grouping: of what is quantised.

    Raises:
        ValueError: what ``selected`` and ``golden.kv.affine.quantize`` refuse.
    """
    half, chosen = selected(x, important)
    order = np.argsort(~chosen, -1, kind="stable")
    lying = np.take_along_axis(half, order[..., None], 1)
    pieces = np.split(lying, [int(chosen[0].sum())], 1)
    tiers = [
        Tier(width, piece.shape, piece if width == HALF else grouping.quantize(piece, width))
        for width, piece in zip(bits, pieces, strict=True)
        if piece.size
    ]
    return Tiered(grouping, order, tuple(tiers))
