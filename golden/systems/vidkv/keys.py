"""Keys: 2 bits for the channels of large range, one bit for the others or for their Fourier transform."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import sign
from golden.kv.affine import Quantized
from golden.selection import top_k
from golden.systems.vidkv.groups import GROUP, SCALE_BITS, affine_bits, half, restored, split, two_bits

__all__ = ["QuantizedKeys", "channel_mask", "quantize_keys", "transform"]

_DECODES = ("scaled", "published")
_EXPONENT_BITS = 8


def channel_mask(k: ArrayLike, fraction: float) -> NDArray[np.bool_]:
    """The anomalous channels: those of largest range over all tokens and heads.

    Args:
        k: finite reals ``[H, T, D]``; ranges are compared exactly, whatever the type.
        fraction: of the channels, 0..1; ``round(fraction * D)`` are chosen. "1.5 bits" is 0.5.

    Returns:
        ``bool[D]``; of equal ranges the lowest channels.

    Raises:
        ValueError: another shape, an element that is not finite, or a fraction out of range.
    """
    keys = np.asarray(k)
    if keys.ndim != 3 or 0 in keys.shape or not np.isfinite(keys).all():
        raise ValueError(f"keys of shape {keys.shape} must be finite [heads, tokens, channels], none empty")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} must be between 0 and 1")
    extremes = zip(keys.max((0, 1)).tolist(), keys.min((0, 1)).tolist(), strict=True)
    ranges = [Fraction(high) - Fraction(low) for high, low in extremes]
    place = {extent: number for number, extent in enumerate(sorted(set(ranges)))}
    scores = np.array([place[extent] for extent in ranges], np.uint64)
    return top_k(scores, round(fraction * len(ranges)))


def transform(x: ArrayLike) -> NDArray[np.complex128]:
    """Unnormalised forward Fourier transform of reals ``[..., n]``, in float64: ``[..., n // 2 + 1]``.

    Raises:
        ValueError: n is 0.
    """
    return np.fft.rfft(np.asarray(x, np.float64))


def _columns(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[..., n]`` to the n columns of the half spectrum: all real parts, then the imaginary parts."""
    spectrum = transform(x)
    return np.concatenate([spectrum.real, spectrum.imag[..., 1 : (x.shape[-1] + 1) // 2]], -1)


def _channels(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of ``_columns``."""
    count = columns.shape[-1]
    spectrum = columns[..., : count // 2 + 1].astype(np.complex128)
    spectrum[..., 1 : (count + 1) // 2] += 1j * columns[..., count // 2 + 1 :]
    return np.fft.irfft(spectrum, count)


@dataclass(frozen=True)
class QuantizedKeys:
    """Keys of one layer: G groups of 32 tokens, and a tail of fewer.

    Attributes:
        mask: bool [D], the anomalous channels.
        anomalous: 2-bit codes [H, 32 G, masked channels] with scale and zero [H, G, masked channels].
        rule: by which they were quantised (``golden.kv.rules``).
        signs: uint8 [H, 32 G, n], 1 where the channel or column is at least 0.
        scale: float16 [H, G, n], mean magnitudes in units of 2^exponent.
        exponent: int8 [H, G]; 0 without transform.
        tail: float16 [H, T % 32, D].
        transformed: whether signs are those of columns.
        decode: "scaled" or "published".
    """

    mask: NDArray[np.bool_]
    anomalous: Quantized
    rule: str
    signs: NDArray[np.uint8]
    scale: NDArray[np.float16]
    exponent: NDArray[np.int8]
    tail: NDArray[np.float16]
    transformed: bool
    decode: str

    def decompress(self) -> NDArray[np.float32]:
        """Keys, float32 [H, T, D]."""
        heads, tokens, _ = self.signs.shape
        result = np.empty((heads, tokens, len(self.mask)))
        result[..., self.mask] = restored(self.anomalous, self.rule)
        result[..., ~self.mask] = self._normal()
        return np.concatenate([result.astype(np.float32), self.tail.astype(np.float32)], 1)

    def _normal(self) -> NDArray[np.float64]:
        """The other channels."""
        step, offset = sign.line(self.scale, self.decode)
        if self.transformed and self.decode == "published":
            imaginary = np.arange(step.shape[-1]) > step.shape[-1] // 2
            offset = np.where(imaginary, -step / 2, offset)
        wide = np.ldexp(np.stack([step, offset]), self.exponent[..., None].astype(int))
        step, offset = np.repeat(wide, GROUP, axis=-2)
        values = self.signs * step + offset
        return _channels(values) if self.transformed and values.size else values

    @property
    def bits_per_element(self) -> float:
        """Bits of an element with dense codes, its share of scales, exponents, mask and tail included."""
        bits = affine_bits(self.anomalous) + self.signs.size + SCALE_BITS * self.scale.size
        bits += _EXPONENT_BITS * self.exponent.size * self.transformed + self.mask.size
        return (bits + SCALE_BITS * self.tail.size) / (
            self.anomalous.codes.size + self.signs.size + self.tail.size
        )


def quantize_keys(
    k: ArrayLike, mask: ArrayLike, *, transform: bool = True, decode: str = "scaled", rule: str = "native"
) -> QuantizedKeys:
    """Quantise the keys of one layer.

    Args:
        k: real ``[H, T, D]``, rounded to float16.
        mask: ``bool[D]``, the anomalous channels; any number of them.
        transform: whether the other channels are transformed. The paper does so where half or a quarter are
            left, 64 or 32 of 128.
        decode: "scaled" or "published".
        rule: of the anomalous channels, one of ``golden.kv.rules``.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    if decode not in _DECODES:
        raise ValueError(f"decode {decode!r} must be one of {', '.join(_DECODES)}")
    whole, tail = split(half(k))
    chosen = np.asarray(mask)
    if chosen.dtype != bool or chosen.shape != whole.shape[2:]:
        raise ValueError(f"mask {chosen.dtype} {chosen.shape} must be bool, one for each channel")
    normal = whole[..., ~chosen]
    signs, scale, exponent = _one_bit(normal, transform)
    return QuantizedKeys(
        chosen, two_bits(whole[..., chosen], rule), rule, signs, scale, exponent, tail, transform, decode
    )


def _one_bit(
    x: NDArray[np.float16], transformed: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.int8]]:
    """Signs, scales and exponents of [H, 32 G, n]."""
    heads, tokens, channels = x.shape
    exponent = np.zeros((heads, tokens // GROUP), np.int8)
    if not x.size:
        return x.astype(np.uint8), np.empty((heads, tokens // GROUP, channels), np.float16), exponent
    if not transformed:
        return *sign.quantize(x, "channel", GROUP)[:2], exponent
    columns = _columns(x.astype(np.float64))
    mean = np.abs(columns).reshape(heads, -1, GROUP, channels).mean(2)
    # The largest scale of a head and group comes to 2^14..2^15, so that small ones keep their 11 bits.
    largest = mean.max(-1)
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 15, 0).astype(np.int8)
    scale = np.ldexp(mean, -exponent[..., None].astype(int)).astype(np.float16)
    return (columns >= 0).astype(np.uint8), scale, exponent
