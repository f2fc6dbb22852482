"""Search: which scale, selector and zero point represent a group of weights best.

A *candidate* is one way to quantise a group: a selector (which special value the group gets), a rule for the
scale, and a factor that shrinks it. Every candidate's scale is rounded to its stored form first; then the
group is quantised with each, and the smallest squared error wins (a tie keeps the earlier candidate).

* ``published``: the search of BitMoD (HPCA 2025, Algorithm 1, and its authors' code): one candidate a
  selector, scale = largest magnitude of the group / largest magnitude of the candidate's values.
* ``clip``: the same hardware and the same bits, but seven factors 1.0, 0.95 .. 0.7 and, where the values are
  lopsided, also the smallest scale that clips neither sign.

Rounding to the nearest value is exact: values are integers, so midpoints are multiples of one half, and a
table indexed by ``floor(2x) + ceil(2x)`` gives the value or the code, ties included.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.numbers.datatypes import DataType
from golden.numbers.floats import HALF_UNIT, half_parts
from golden.numbers.scales import ScaleFormat

__all__ = [
    "SEARCHES",
    "Candidate",
    "Extent",
    "Nearest",
    "candidates",
    "channel_for",
    "encode",
    "half",
    "measure",
    "proposal",
    "round_to_stored",
]

_CLIP = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
_POWERS = (1.0, 2.0, 0.5)
SEARCHES = ("published", "clip")
_TOP = {"int8": 255.0, "e4m3": 14.0}
"""Largest scale in units of the channel. E4M3 (OCP FP8 1.0) ends at 1.75 * 2^8, which is the mantissa 14 at
distance 0: a 15 there is its NaN."""
_FARTHEST = 14
"""Largest distance of e4m3: E4M3's exponent field 1, in whose place its subnormals lie too."""
_SMALLEST = {"fp16": 2.0**-24, "e8m0": 2.0**-127}
"""Smallest scale of a group that is not all zeros: a smaller one rises to it, since 0 would lose the group.
They are half precision's smallest subnormal and E8M0's smallest power of two (OCP Microscaling 1.0; it
ends at 2^127). Scales of int8 and e4m3 keep a mantissa of at least 1 to the same end."""
_LARGEST_POWER = 2.0**127
_EVEN_TIES = frozenset(("binary", "binary01", "ternary", "e2m1", "e2m3", "e3m2"))
_MEAN_SCALE = frozenset(("binary", "ternary"))


class Candidate(NamedTuple):
    """One way to quantise a group: selector, factor on the scale, and whether neither sign may clip."""

    selector: int
    factor: float
    covers: bool


def candidates(dtype: DataType, search: str, power_of_two: bool) -> tuple[Candidate, ...]:
    """List the candidates of a search, published ones first, in the order in which ties are settled.

    Args:
        dtype: the data type; each of its selectors is tried.
        search: one of ``SEARCHES``.
        power_of_two: scales are powers of two, so ``clip`` tries the neighbouring powers instead.
    """
    selectors = range(max(len(dtype.specials), 1))
    plain = [Candidate(selector, 1.0, False) for selector in selectors]
    if search == "published":
        return tuple(plain)
    factors = _POWERS if power_of_two else _CLIP
    covering = [selector for selector in selectors if _lopsided(dtype, selector)]
    extra = [Candidate(selector, factor, False) for factor in factors[1:] for selector in selectors]
    extra += [Candidate(selector, factor, True) for factor in factors for selector in covering]
    return tuple(plain + extra)


def _lopsided(dtype: DataType, selector: int) -> bool:
    """Whether one sign of a type that is not uniform reaches further than the other."""
    values = dtype.values(selector)
    return not dtype.uniform and values.min() < 0 and values.max() != -values.min()


class Extent(NamedTuple):
    """What the scale of a group depends on, each float64 ``[K, D]``: the range and the mean magnitude."""

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]


def measure(parts: list[NDArray[np.float32]]) -> Extent:
    """Measure groups; ``parts`` are arrays ``[K, d, g]`` whose ``d`` add up to D."""
    minimum = np.concatenate([part.min(-1) for part in parts], 1).astype(np.float64)
    maximum = np.concatenate([part.max(-1) for part in parts], 1).astype(np.float64)
    mean = np.concatenate([np.abs(part).mean(-1, dtype=np.float64) for part in parts], 1)
    return Extent(minimum, maximum, mean)


def proposal(
    extent: Extent, dtype: DataType, candidate: Candidate, float_zero: bool, power_of_two: bool
) -> NDArray[np.float64]:
    """Propose the scale of every group for one candidate, before it is rounded to its stored form.

    A power-of-two scale is ``2^(floor(log2(width)) - floor(log2(levels)))`` (OCP Microscaling 1.0, section
    6.3, where ``width`` is the largest magnitude and ``levels`` that of the element type).

    Returns float64 ``[K, D]``; 0 only for a group without extent.
    """
    width, levels = _width(extent, dtype, candidate, float_zero)
    width = width * candidate.factor
    if not power_of_two:
        return width / levels
    exponent = np.frexp(width)[1] - np.frexp(float(levels))[1]
    return np.where(width > 0, np.ldexp(1.0, exponent), 0.0)


def _width(
    extent: Extent, dtype: DataType, candidate: Candidate, float_zero: bool
) -> tuple[NDArray[np.float64], int]:
    """What a group's values must span, and the number of steps that they span."""
    if float_zero:
        return extent.maximum - extent.minimum, (1 << dtype.bits) - 1
    if dtype.name in _MEAN_SCALE:
        return extent.mean, 1
    low, high = np.minimum(extent.minimum, 0), np.maximum(extent.maximum, 0)
    if dtype.asymmetric:
        return high - low, (1 << dtype.bits) - 1
    if dtype.uniform:
        return np.maximum(high, -low), (1 << dtype.bits - 1) - 1
    values = dtype.values(candidate.selector)
    levels = int(np.abs(values).max())
    if values.min() == 0:
        return high, levels
    if candidate.covers:
        high, low = high * (levels / int(values.max())), low * (levels / -int(values.min()))
    return np.maximum(high, -low), levels


def channel_for(largest: NDArray[np.float64], form: ScaleFormat) -> NDArray[np.int16]:
    """Exponent ``[K]`` of the smallest power of two that brings a row's ``largest`` scale ``[K]`` to the top
    code or below; 0 for a row of zeros.

    Formats that hold scales as they are get theirs in ``encode``.
    """
    fraction, exponent = np.frexp(largest / _TOP.get(form.name, 1.0))
    smallest = np.where(fraction == 0.5, exponent - 1, exponent)
    return np.where(largest > 0, np.clip(smallest, -128, 127), 0).astype(np.int16)


def _value(channel: NDArray[np.int16]) -> NDArray[np.float64]:
    """Real channel scale, ``[K, 1]``."""
    return np.ldexp(1.0, channel.astype(np.int32))[:, None]


def half(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to IEEE half precision, saturating instead of overflowing."""
    return np.clip(value, -65504.0, 65504.0).astype(np.float16).astype(np.float64)


def round_to_stored(
    scale: NDArray[np.float64], channel: NDArray[np.int16], form: ScaleFormat
) -> NDArray[np.float64]:
    """Round scales ``[K, D]`` to what ``form`` stores; a positive scale stays positive."""
    if form.name == "fp16":
        return np.where(scale > 0, np.maximum(half(scale), _SMALLEST["fp16"]), 0.0)
    if form.name == "e8m0":
        return np.where(scale > 0, np.clip(scale, _SMALLEST["e8m0"], _LARGEST_POWER), 0.0)
    ratio = np.minimum(scale / _value(channel), _TOP[form.name])
    step = np.ones_like(ratio) if form.name == "int8" else np.ldexp(1.0, -_distance(ratio))
    code = np.where(scale > 0, np.maximum(np.rint(ratio / step), 1), 0.0)
    return code * step * _value(channel)


def _distance(ratio: NDArray[np.float64]) -> NDArray[np.int32]:
    """Distance 0..14 at which an e4m3 ratio of up to 14 has four significant bits, or fewer at 14."""
    return np.clip(4 - np.frexp(ratio)[1], 0, _FARTHEST)


def encode(
    scale: NDArray[np.float64],
    offset: NDArray[np.float64] | None,
    channel: NDArray[np.int16],
    form: ScaleFormat,
) -> dict[str, NDArray]:
    """Split stored scales and offsets ``[K, D]`` into the integer fields of ``QuantizedWeights``."""
    fields = {}
    if form.name == "fp16":
        mantissa, exponent = half_parts(scale)
        low, low_exponent = half_parts(np.zeros_like(scale) if offset is None else offset)
        top = np.maximum(exponent * (mantissa != 0), low_exponent * (low != 0)).max(1)
        channel = np.where(top > 0, top - HALF_UNIT, 0)
        distance = np.where(mantissa != 0, top[:, None] - exponent, 0)
        if offset is not None:
            fields["offset_mantissa"] = low.astype(np.int16)
            fields["offset_distance"] = np.where(low != 0, top[:, None] - low_exponent, 0).astype(np.uint8)
    elif form.name == "e8m0":
        exponent = np.where(scale > 0, np.frexp(scale)[1] - 1, -1000)
        top = exponent.max(1)
        channel = np.where(top > -1000, top, -128)
        mantissa = np.ones_like(exponent)
        distance = np.where(exponent > -1000, top[:, None] - exponent, 255)
    else:
        ratio = scale / _value(channel)
        distance = np.zeros(ratio.shape, np.int32) if form.name == "int8" else _distance(ratio)
        mantissa = np.ldexp(ratio, distance)
    return fields | {
        "scale_mantissa": mantissa.astype(np.uint16),
        "scale_distance": distance.astype(np.uint8),
        "channel_exponent": channel.astype(np.int16),
    }


@cache
def _tables(dtype: DataType) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    """Nearest value and its code for every position, selectors one after another, and the positions a side.

    Position ``p`` stands for ``floor(2x) + ceil(2x) = p - reach``: an exact multiple of one half where that
    is even. Ties go to the smaller value (BitMoD, ANT) or to the even code (IEEE-like types).
    """
    reach = 4 * dtype.largest
    places = np.arange(-reach, reach + 1)
    values, codes = [], []
    for selector in range(max(len(dtype.specials), 1)):
        levels = dtype.values(selector)
        order = np.arange(len(levels))
        preference = np.lexsort((order, order & 1 if dtype.name in _EVEN_TIES else levels))
        distance = np.abs(places[:, None] - 4 * levels[preference])
        code = preference[distance.argmin(1)]
        codes.append(code.astype(np.uint8))
        values.append(levels[code].astype(np.float32))
    return np.concatenate(values), np.concatenate(codes), reach


class Nearest(NamedTuple):
    """Round quotients ``weight / scale`` to the nearest value of a data type.

    Quotients are float32 ``[K, d, g]``, selectors and zero points integers ``[K, d, 1]``.
    """

    dtype: DataType

    def value(self, quotient: NDArray[np.float32], selector, zero_point) -> NDArray[np.float32]:
        """Nearest value, zero point included, as float32."""
        if self.dtype.uniform:
            return self._bounded(quotient, zero_point)
        values, _, _ = _tables(self.dtype)
        return values.take(self._position(quotient, selector), mode="clip")

    def code(self, quotient: NDArray[np.float32], selector, zero_point) -> NDArray[np.uint8]:
        """Code of the nearest value."""
        if self.dtype.uniform:
            value = self._bounded(quotient, zero_point).astype(np.int16) - zero_point
            return self.dtype.code_of[value & (1 << self.dtype.bits) - 1]
        _, codes, _ = _tables(self.dtype)
        return codes.take(self._position(quotient, selector), mode="clip")

    def _bounded(self, quotient: NDArray[np.float32], zero_point) -> NDArray[np.float32]:
        """Nearest integer, ties to even, within the type's range moved by the zero point."""
        top = (1 << self.dtype.bits - 1) - 1
        low, high = (
            np.asarray(bound + zero_point, np.float32) for bound in (-top - self.dtype.asymmetric, top)
        )
        return np.clip(np.rint(quotient), low, high)

    def _position(self, quotient: NDArray[np.float32], selector) -> NDArray[np.intp]:
        """Index into the tables."""
        _, _, reach = _tables(self.dtype)
        doubled = np.clip(quotient, -0.25 * reach, 0.25 * reach)
        doubled += doubled
        position = np.floor(doubled)
        position += np.ceil(doubled, out=doubled)
        index = position.astype(np.intp)
        index += reach + (2 * reach + 1) * np.asarray(selector, np.intp)
        return index
