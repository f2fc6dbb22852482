"""Quantised weights: what a matrix of codes, scales and offsets means, and how floats become one.

Weight ``w[o, c]`` of output o and input c, which lies in group ``g = c // group``, is

    channel[o] * (scale[o,g] * (v + zero_point[o,g]) + offset[o,g])

    channel = 2^channel_exponent
    scale   = scale_mantissa * 2^-scale_distance
    offset  = offset_mantissa * 2^-offset_distance

with ``v`` the integer that the data type gives to the code. Everything is an integer or a power of two, so
hardware computes with it exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.scales import CHANNEL_EXPONENT_BITS, OFFSET_MANTISSA_BITS, ScaleFormat
from golden.weights import search
from golden.weights.search import Candidate, Extent, Nearest

__all__ = ["ZEROS", "QuantizedWeights", "parts_of", "quantize"]

ZEROS = ("integer", "float")
_BLOCK = 1 << 16
_SMALLEST, _LARGEST = 1e-5, 1e4


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """A quantised matrix of K outputs and C inputs in D groups an output.

    Attributes:
        dtype: data type of the codes.
        group: inputs of a group; the last one may be shorter.
        scale_format: how scales are stored.
        codes: uint8 ``[K, C]``, indices into ``dtype.values(selector)``.
        selector: uint8 ``[K, D]``, which special value a group has; 0 where the type has none.
        scale_mantissa, scale_distance: uint16 and uint8 ``[K, D]``.
        zero_point: int16 ``[K, D]``, added to every value of the group: ``2^(n-1) - z`` for an asymmetric
            type of n bits with zero code z, usually 0 beside a separate offset, else 0.
        channel_exponent: int16 ``[K]`` within -128..127.
        offset_mantissa, offset_distance: int16 within ±2047 and uint8 ``[K, D]``, or None without an offset.
    """

    dtype: DataType
    group: int
    scale_format: ScaleFormat
    codes: NDArray[np.uint8]
    selector: NDArray[np.uint8]
    scale_mantissa: NDArray[np.uint16]
    scale_distance: NDArray[np.uint8]
    zero_point: NDArray[np.int16]
    channel_exponent: NDArray[np.int16]
    offset_mantissa: NDArray[np.int16] | None = None
    offset_distance: NDArray[np.uint8] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs K and inputs C."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def groups(self) -> int:
        """Groups D an output."""
        return self.selector.shape[1]

    @cached_property
    def scale(self) -> NDArray[np.float64]:
        """Scale of every group relative to its channel, float64 ``[K, D]``, exact."""
        return np.ldexp(self.scale_mantissa.astype(np.float64), -self.scale_distance.astype(np.int32))

    @cached_property
    def offset(self) -> NDArray[np.float64] | None:
        """Offset of every group relative to its channel, float64 ``[K, D]``, exact, or None."""
        if self.offset_mantissa is None or self.offset_distance is None:
            return None
        return np.ldexp(self.offset_mantissa.astype(np.float64), -self.offset_distance.astype(np.int32))

    @cached_property
    def channel(self) -> NDArray[np.float64]:
        """Scale of every output, float64 ``[K]``, exact."""
        return np.ldexp(1.0, self.channel_exponent.astype(np.int32))

    def integers(self) -> NDArray[np.int16]:
        """Integer ``v`` of every code, without the zero point, int16 ``[K, C]``."""
        count = max(len(self.dtype.specials), 1)
        table = np.array([self.dtype.values(selector) for selector in range(count)], np.int16)
        return table[self.per_input(self.selector), self.codes]

    def per_input(self, per_group: NDArray) -> NDArray:
        """Spread an array ``[K, D]`` over the inputs of its groups: ``[K, C]``."""
        return np.repeat(per_group, self.group, axis=1)[:, : self.shape[1]]

    def dequantize(self, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
        """Real weights ``[K, C]``.

        Exact in float64. A narrower ``dtype`` rounds once; float32 is still exact without a separate offset
        where the scale format is int8, e8m0 or e4m3.
        """
        integer = self.integers().astype(np.int32) + self.per_input(self.zero_point)
        result = self.per_input(self.scale * self.channel[:, None]) * integer
        if self.offset is not None:
            result += self.per_input(self.offset * self.channel[:, None])
        return result.astype(dtype, copy=False)

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight, its share of selector, scale, zero point, offset and channel included."""
        per_output = CHANNEL_EXPONENT_BITS
        per_group = self.dtype.selector_bits + self.scale_format.bits
        if self.offset_mantissa is not None:
            per_group += 1 + OFFSET_MANTISSA_BITS + self.scale_format.distance_bits
        elif self.dtype.asymmetric:
            per_group += self.dtype.bits
        return self.dtype.packed_bits + (per_group * self.groups + per_output) / self.shape[1]


def quantize(
    w: ArrayLike,
    dtype: str | DataType,
    group: int = 128,
    scale: str = "int8",
    search: str = "published",
    zero: str = "integer",
) -> QuantizedWeights:
    """Quantise a matrix of weights.

    A group's scale is rounded to its stored form before the codes are chosen, and to 0 only if the group is
    all zeros. A quotient ``weight / scale`` is an IEEE float32 division and is then rounded exactly: BitMoD's
    and ANT's types with ties to the smaller neighbour, the others with ties to even.

    The range of a group with an integer zero point always includes 0; otherwise a group of one sign would
    clip. ``published`` keeps scales within 1e-5..1e4 in the units of the authors' code. ``ternary`` and
    ``binary`` take the mean magnitude as their scale (BitNet b1.58, XNOR-Net).

    Args:
        w: real weights ``[K, C]``, finite; taken as float32.
        dtype: data type or its name.
        group: inputs that share a scale.
        scale: name of a scale format of ``golden.numbers.scales``.
        search: ``published`` (BitMoD) or ``clip`` (shrunk scales too).
        zero: ``integer``, or ``float`` for asymmetric types and ``binary01``: any real range (as in GGUF Q4_1
            and KIVI), held by an fp16 offset, the weight at v = 0; it needs scale ``fp16``.

    Raises:
        ValueError: an argument is out of range, or a weight is not finite.
    """
    kind = dtype if isinstance(dtype, DataType) else datatypes.get(dtype)
    weights = _checked(w, kind, group, scale, search, zero)
    quantiser = _Quantiser(kind, group, scales.get(scale), search, zero == "float")
    rows = max(_BLOCK // weights.shape[1], 1)
    blocks = [quantiser(weights[first : first + rows]) for first in range(0, len(weights), rows)]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return QuantizedWeights(kind, group, quantiser.format, **joined)


def _checked(w: ArrayLike, kind: DataType, group: int, scale: str, search_name: str, zero: str) -> NDArray:
    """Check the arguments of ``quantize`` and return the weights as an array."""
    weights = np.asarray(w)
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"weights of shape {weights.shape} must be a matrix that is not empty")
    if isinstance(group, bool) or not isinstance(group, int | np.integer) or group < 1:
        raise ValueError(f"group {group!r} must be an integer of at least 1")
    for name, value, allowed in ("search", search_name, search.SEARCHES), ("zero", zero, ZEROS):
        if value not in allowed:
            raise ValueError(f"{name} {value!r} must be one of {', '.join(allowed)}")
    if zero == "float" and not (kind.asymmetric or kind.name == "binary01"):
        raise ValueError(f"zero 'float' needs an asymmetric data type or binary01, not {kind.name}")
    if zero == "float" and scales.get(scale).name != "fp16":
        raise ValueError(f"zero 'float' needs scale 'fp16', not {scale!r}")
    return weights


@dataclass(frozen=True)
class _Quantiser:
    """Quantises a block of rows; the arguments are those of ``quantize``."""

    kind: DataType
    group: int
    format: ScaleFormat
    search: str
    float_zero: bool

    def __call__(self, w: NDArray) -> dict[str, NDArray]:
        """Arrays of ``QuantizedWeights`` for rows ``w`` ``[k, C]``."""
        with np.errstate(over="ignore"):
            weights = np.ascontiguousarray(w, np.float32)
        if not np.isfinite(weights).all():
            raise ValueError("weights must be finite, and at most 3.4e38 (float32)")
        parts = parts_of(weights, self.group)
        extent = search.measure(parts)
        power_of_two = self.format.mantissa_bits == 0
        choices = search.candidates(self.kind, self.search, power_of_two)
        proposals = [self._scale(extent, choice, power_of_two) for choice in choices]
        channel = search.channel_for(np.max(proposals, axis=(0, 2)), self.format)
        fits = []
        for choice, proposal in zip(choices, proposals, strict=True):
            stored = search.round_to_stored(proposal, channel, self.format)
            selector = np.full(stored.shape, choice.selector, np.uint8)
            fits.append(_Fit(selector, stored, *self._zero(extent, choice, stored)))
        best = self._best(parts, fits)
        return {
            "codes": self._codes(parts, best),
            "selector": best.selector,
            "zero_point": best.zero_point,
            **search.encode(best.scale, best.offset if self.float_zero else None, channel, self.format),
        }

    def _scale(self, extent: Extent, choice: Candidate, power_of_two: bool) -> NDArray[np.float64]:
        """Proposed scale ``[k, D]``, within the limits of the authors' code for the published search."""
        scale = search.proposal(extent, self.kind, choice, self.float_zero, power_of_two)
        if self.search != "published" or self.float_zero or self.format.name not in ("int8", "fp16"):
            return scale
        authors_unit = 2 if self.kind.bits == 3 and self.kind.step == 0.5 else 1
        return np.where(scale > 0, np.clip(scale, _SMALLEST / authors_unit, _LARGEST / authors_unit), 0)

    def _zero(
        self, extent: Extent, choice: Candidate, scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
        """Zero point and offset of every group, each ``[k, D]``."""
        half_range = 1 << self.kind.bits - 1
        if self.float_zero:
            lost = (extent.maximum - extent.minimum) * (1 - choice.factor) / 2
            steps = half_range if self.kind.asymmetric else 0
            return np.zeros(scale.shape, np.int16), search.half(extent.minimum + lost + steps * scale)
        if not self.kind.asymmetric:
            return np.zeros(scale.shape, np.int16), np.zeros(scale.shape)
        zero = np.rint(np.maximum(-extent.minimum, 0) * choice.factor / np.where(scale > 0, scale, 1))
        return (half_range - np.clip(zero, 0, 2 * half_range - 1)).astype(np.int16), np.zeros(scale.shape)

    def _best(self, parts: list[NDArray[np.float32]], fits: list["_Fit"]) -> "_Fit":
        """The fit with the smallest squared error of each group; a tie keeps the earlier one."""
        best = fits[0]
        if len(fits) == 1:
            return best
        least = self._errors(parts, best)
        for fit in fits[1:]:
            error = self._errors(parts, fit)
            better = error < least
            least = np.where(better, error, least)
            best = _Fit._make(np.where(better, new, old) for new, old in zip(fit, best, strict=True))
        return best

    def _errors(self, parts: list[NDArray[np.float32]], fit: "_Fit") -> NDArray[np.float64]:
        """Squared error of every group ``[k, D]``.

        Sums float32 squares in NumPy's fixed pairwise order: the choice does not depend on the machine.
        """
        nearest, errors = Nearest(self.kind), []
        with np.errstate(over="ignore", invalid="ignore"):
            for quotient, own in self._quotients(parts, fit):
                difference = nearest.value(quotient, own.selector, own.zero_point)
                difference -= quotient
                np.square(difference, out=difference)
                errors.append(difference.sum(-1) * np.square(own.scale[..., 0]))
        return np.concatenate(errors, 1)

    def _codes(self, parts: list[NDArray[np.float32]], fit: "_Fit") -> NDArray[np.uint8]:
        """Codes ``[k, C]``."""
        nearest, pairs = Nearest(self.kind), self._quotients(parts, fit)
        codes = [nearest.code(quotient, own.selector, own.zero_point) for quotient, own in pairs]
        return np.concatenate([code.reshape(len(code), -1) for code in codes], 1)

    def _quotients(
        self, parts: list[NDArray[np.float32]], fit: "_Fit"
    ) -> Iterator[tuple[NDArray[np.float32], "_Fit"]]:
        """Weights in units of their scale, float32 ``[k, d, g]``, with their own parameters ``[k, d, 1]``."""
        first = 0
        for part in parts:
            own = _Fit._make(field[:, first : first + part.shape[1], None] for field in fit)
            first += part.shape[1]
            shifted = part - own.offset.astype(np.float32) if self.float_zero else part
            yield shifted / np.where(own.scale > 0, own.scale, 1).astype(np.float32), own


class _Fit(NamedTuple):
    """Parameters of every group, each ``[k, D]``: selector, stored scale, zero point and real offset."""

    selector: NDArray[np.uint8]
    scale: NDArray[np.float64]
    zero_point: NDArray[np.int16]
    offset: NDArray[np.float64]


def parts_of(weights: NDArray[np.float32], group: int) -> list[NDArray[np.float32]]:
    """View rows as groups ``[k, d, g]``: the whole ones, then a shorter last one, without an empty part."""
    rows, inputs = weights.shape
    whole = inputs // group * group
    parts = [weights[:, :whole].reshape(rows, -1, group), weights[:, None, whole:]]
    return [part for part in parts if part.size]
