"""OliVe (ISCA 2023): codes of outlier-victim pairs.

Two neighbours share a byte of two 4-bit codes. The code 1000, -8 in two's complement and unused by
symmetric int4, marks a victim: it is zero, and its partner is an outlier. Every other code is int4. An
outlier is an *abfloat*, a float (E2M1) whose exponent is biased until its range starts above that of int4:

    outlier = (-1)^sign * (2 + mantissa) << exponent + BIAS,    0 where the three bits are zero

which makes +-12, 16, 24, 32, 48, 64 and 96. Hardware sees every code as an integer and an exponent, value =
integer * 2**exponent; only outliers have one.

Points fixed here:

- Normal values are int4, the type that the bias of 2 belongs to (the paper also allows flint4, bias 3).
- The first code of a pair is the one in the low bits of the byte.
- Every byte decodes: two victims are two zeros, and an outlier of code 0000 is zero. No encoder writes these.
- Three bits are those of the authors' quantiser: int3, outliers of a sign and an exponent, +-8, 16 and 32. No
  code and no circuit is made for them.
- The authors' quantiser has a scale an output; here a group may be shorter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.weights import search
from golden.weights.quantized import parts_of

__all__ = [
    "BIAS",
    "MAGNITUDES",
    "NORMAL",
    "OUTLIERS",
    "VICTIM",
    "PairedWeights",
    "decode_pairs",
    "encode_pairs",
    "quantize",
    "split",
]

BIAS = 2
"""Added to an outlier's exponent, so that the smallest outlier is above the largest normal value."""

VICTIM = 8
"""The code whose partner is an outlier."""

NORMAL: tuple[int, ...] = (*range(8), 0, *range(-7, 0))
"""Integer value of a code whose partner is no victim; VICTIM itself is 0."""


def _abfloat(code: int) -> int:
    magnitude = 2 + (code & 1) << (code >> 1 & 3) + BIAS if code & 7 else 0
    return -magnitude if code & 8 else magnitude


OUTLIERS: tuple[int, ...] = tuple(map(_abfloat, range(16)))
"""Integer value of a code whose partner is a victim."""

MAGNITUDES: dict[int, tuple[int, tuple[int, ...]]] = {4: (max(NORMAL), OUTLIERS[1:8]), 3: (3, (8, 16, 32))}
"""Largest normal value, and the magnitudes of outliers, by bits."""

_FACTORS = np.arange(75, 250, 2) / 100
"""Of the authors' scripts: what of three standard deviations the largest normal value may stand for."""

_BLOCK = 1 << 16
_SMALLEST = 2.0**-24


def _pairs(array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim == 0 or array.shape[-1] % 2:
        raise ValueError(f"{name}: the last axis must be even, got shape {array.shape}")
    return array.reshape(*array.shape[:-1], -1, 2)


def decode_pairs(codes: np.ndarray) -> np.ndarray:
    """Integers of codes.

    Args:
        codes: unsigned integers 0..15; neighbours along the last axis are pairs.

    Returns:
        int32 array of the same shape.

    Raises:
        ValueError: an odd last axis, or a code of more than four bits.
    """
    pairs = _pairs(codes, "codes")
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < 16:
        raise ValueError("codes must be 0..15")
    beside_victim = pairs[..., ::-1] == VICTIM
    values = np.where(beside_victim, np.array(OUTLIERS)[pairs], np.array(NORMAL)[pairs])
    return values.astype(np.int32).reshape(np.shape(codes))


def encode_pairs(values: np.ndarray) -> np.ndarray:
    """Codes of integers of which at most one in a pair is an outlier, and then the other one is 0.

    Args:
        values: integers -7..7 or outliers; neighbours along the last axis are pairs.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: an odd last axis, a value that is neither, or an outlier beside a value that is not 0.
    """
    pairs = _pairs(values, "values")
    outlier = np.abs(pairs) > max(NORMAL)
    codes = pairs & 15
    if outlier.any():
        same = pairs[outlier][:, None] == np.array(OUTLIERS)
        if not same.any(-1).all():
            allowed = ", ".join(str(value) for value in OUTLIERS[1:8])
            raise ValueError(f"values must be -7..7 or an outlier, +-({allowed})")
        if pairs[outlier[..., ::-1]].any():
            raise ValueError("an outlier's partner must be 0")
        codes[outlier] = same.argmax(-1)
        codes[outlier[..., ::-1]] = VICTIM
    return codes.astype(np.uint8).reshape(np.shape(values))


def split(code: int, partner: int) -> tuple[int, int]:
    """Integer, -7..7, and exponent, 0..5, that the decoder makes of a code beside another.

    Raises:
        ValueError: a code of more than four bits.
    """
    value = int(decode_pairs(np.array([code, partner]))[0])
    if partner != VICTIM or value == 0:
        return value, 0
    exponent = (code >> 1 & 3) + BIAS
    return value >> exponent, exponent


@dataclass(frozen=True, eq=False)
class PairedWeights:
    """A matrix of K outputs and C inputs in D groups an output.

    Attributes:
        bits: of a code.
        group: inputs of a group; the last one may be shorter.
        integers: int8 [K, C]; a pair of neighbours has at most one outlier, and then the other one is 0.
        scale: float64 [K, D], FP16 numbers.
    """

    bits: int
    group: int
    integers: NDArray[np.int8]
    scale: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs K and inputs C."""
        return self.integers.shape[0], self.integers.shape[1]

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight, its share of the scale included."""
        return self.bits + 16 * self.scale.shape[1] / self.shape[1]

    def dequantize(self, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
        """Real weights [K, C], exact in float64."""
        scale = np.repeat(self.scale, self.group, axis=1)[:, : self.shape[1]]
        return (self.integers * scale).astype(dtype, copy=False)


def quantize(w: NDArray[np.floating], group: int = 128, bits: int = 4) -> PairedWeights:
    """Quantise weights [K, C] as the authors' code does, except that it has one scale an output.

    The largest normal value stands for 0.75 to 2.49 times the mean's magnitude plus three standard
    deviations: of 88 such scales, rounded to FP16, the one with the least squared error wins, the first of
    equal ones. A weight takes the nearest normal value or outlier (ties: to even, or to the outlier); then
    the other one of an outlier's pair becomes 0, and if both are outliers the first one stays.

    Args:
        w: finite; taken as float32.
        group: inputs that share a scale, even.
        bits: 3 or 4.

    Raises:
        ValueError: other bits, an odd group or number of inputs, or a weight that is not finite.
    """
    weights = np.asarray(w, np.float32)
    if bits not in MAGNITUDES:
        raise ValueError(f"bits {bits} must be one of {', '.join(map(str, sorted(MAGNITUDES)))}")
    for name, size in (("group", group), ("inputs", weights.shape[1])):
        if size < 1 or size % 2:
            raise ValueError(f"{name} {size} must be even, because neighbours are pairs")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite")
    rows = max(_BLOCK // weights.shape[1], 1)
    blocks = [_block(weights[start : start + rows], bits, group) for start in range(0, len(weights), rows)]
    integers, scale = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return PairedWeights(bits, group, integers, scale)


def _block(weights: NDArray[np.float32], bits: int, group: int) -> tuple[NDArray, NDArray]:
    """Integers and scales of some rows."""
    integers, scales = [], []
    for part in parts_of(np.ascontiguousarray(weights), group):
        least, scale = np.full(part.shape[:2], np.inf), np.zeros(part.shape[:2])
        for candidate in _candidates(part, MAGNITUDES[bits][0]):
            difference = _rounded(part, candidate, bits)
            difference -= part / _divisor(candidate)
            error = np.einsum("kdg,kdg->kd", difference, difference) * np.square(candidate)
            better = error < least
            least, scale = np.where(better, error, least), np.where(better, candidate, scale)
        integers.append(_rounded(part, scale, bits).astype(np.int8).reshape(len(part), -1))
        scales.append(scale)
    return np.concatenate(integers, 1), np.concatenate(scales, 1)


def _candidates(part: NDArray[np.float32], top: int) -> Iterator[NDArray[np.float64]]:
    """Scales to try for groups [K, d, g], each float64 [K, d]."""
    exact = part.astype(np.float64)
    reach = np.abs(exact.mean(-1)) + 3 * exact.std(-1, ddof=1)
    for factor in _FACTORS:
        scale = factor * reach / top
        yield np.where(scale > 0, np.maximum(search.half(scale), _SMALLEST), 0.0)


def _divisor(scale: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.where(scale > 0, scale, 1).astype(np.float32)[..., None]


def _rounded(part: NDArray[np.float32], scale: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Whole numbers of groups [K, d, g] as pairs can hold them."""
    top, outliers = MAGNITUDES[bits]
    quotient = part / _divisor(scale)
    magnitude = np.abs(quotient)
    values = np.clip(np.rint(quotient), -top, top)
    outlier = magnitude >= (top + outliers[0]) / 2
    places = np.flatnonzero(outlier)
    if places.size:
        places = places[(places % 2 == 0) | ~outlier.flat[places - 1]]
        middles = (np.array(outliers[1:]) + outliers[:-1]) / 2
        nearest = np.array(outliers, np.float32)[np.searchsorted(middles, magnitude.flat[places])]
        values.flat[places] = np.copysign(nearest, quotient.flat[places])
        values.flat[places ^ 1] = 0
    return values
