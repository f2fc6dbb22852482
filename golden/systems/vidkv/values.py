"""Values: trits, and two bits for protected tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import codings, ternary
from golden.kv.affine import Quantized
from golden.systems.vidkv.groups import GROUP, SCALE_BITS, affine_bits, half, restored, split, two_bits

__all__ = ["QuantizedValues", "quantize_values"]


@dataclass(frozen=True)
class QuantizedValues:
    """Values of one layer, in one or two classes of tokens, each with a tail that fills no group.

    Attributes:
        protected: bool [T], tokens of 2 bits; None where there is no such class.
        kept: 2-bit codes of them [H, 32 G', D], with scale and zero [H, G', D].
        rule: by which they were quantised.
        trits: codes of the others [H, 32 G, D] (``golden.kv.ternary``).
        scale: float16 [H, G, D]; ones and not stored where decode is "published".
        tail, kept_tail: float16, what is left of each class.
        decode: "scaled", "kept" or "published".
    """

    protected: NDArray[np.bool_] | None
    kept: Quantized
    rule: str
    trits: NDArray[np.uint8]
    scale: NDArray[np.float16]
    tail: NDArray[np.float16]
    kept_tail: NDArray[np.float16]
    decode: str

    def decompress(self) -> NDArray[np.float32]:
        """Values, float32 [H, T, D], in the order of the tokens."""
        plain = ternary.TRITS[self.trits] * np.repeat(self.scale.astype(np.float32), GROUP, axis=1)
        plain = np.concatenate([plain, self.tail.astype(np.float32)], 1)
        if self.protected is None:
            return plain
        own = np.concatenate([restored(self.kept, self.rule).astype(np.float32), self.kept_tail], 1)
        result = np.empty((len(plain), len(self.protected), plain.shape[2]), np.float32)
        result[:, ~self.protected], result[:, self.protected] = plain, own
        return result

    @property
    def bits_per_element(self) -> float:
        """Bits of an element with dense codes, its share of scales, class bitmap and tails included."""
        bits = codings.get("trits").packed_bits * self.trits.size + affine_bits(self.kept)
        bits += SCALE_BITS * self.scale.size * (self.decode != "published")
        bits += 0 if self.protected is None else self.protected.size
        bits += SCALE_BITS * (self.tail.size + self.kept_tail.size)
        return bits / (self.trits.size + self.kept.codes.size + self.tail.size + self.kept_tail.size)


def quantize_values(
    v: ArrayLike,
    gamma: float = 0.7,
    decode: str = "scaled",
    *,
    protected: ArrayLike | None = None,
    rule: str = "native",
) -> QuantizedValues:
    """Quantise the values of one layer.

    Args:
        v: real ``[H, T, D]``, rounded to float16.
        gamma: threshold in mean magnitudes, rounded to 256ths; 0.7 in the paper, 0.5 in its code.
        decode: "scaled", "kept" or "published".
        protected: ``bool[T]``, tokens of 2 bits, in groups of their own; none by default.
        rule: of protected tokens, one of ``golden.kv.rules``.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    rounded = half(v)
    marks = np.zeros(rounded.shape[1], bool) if protected is None else np.asarray(protected)
    if marks.dtype != bool or marks.shape != rounded.shape[1:2]:
        raise ValueError(f"protected {marks.dtype} {marks.shape} must be bool, one for each token")
    plain, tail = split(rounded[:, ~marks])
    own, own_tail = split(rounded[:, marks])
    trits, scale = _trits(plain, gamma, decode)
    return QuantizedValues(
        None if protected is None else marks, two_bits(own, rule), rule, trits, scale, tail, own_tail, decode
    )


def _trits(
    x: NDArray[np.float16], gamma: float, decode: str
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Trits and scales of [H, 32 G, D], possibly of nothing."""
    groups = (x.shape[0], x.shape[1] // GROUP, x.shape[2])
    codes, scale, _ = ternary.quantize(x if x.size else np.zeros((GROUP, 1)), "channel", GROUP, gamma, decode)
    return (codes, scale) if x.size else (np.empty(x.shape, np.uint8), np.empty(groups, np.float16))
