"""Matrices as other formats store them, and the same numbers as ``QuantizedWeights``, exactly.

Every format that kvloom takes over without requantising says of a weight in group ``g = c // group``

    weight = scale[o,g] * (value(code[o,c]) - zero[o,g]) + offset[o,g]

A scale may be negative here. ``QuantizedWeights`` has none, so its integers change sign instead: ``-v`` is
``~v + 1``, a code with all bits turned and one step of zero point; a symmetric table has the opposite code,
any other table a selector for it.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.numerics import Numerics
from golden.numbers.scales import OFFSET_MANTISSA_BITS, ScaleFormat
from golden.weights.quantized import QuantizedWeights

__all__ = ["GROUPS", "Inexact", "Stored", "packable"]

GROUPS = Numerics().group_lengths
"""Lengths of a group that an accelerator takes; a longer group of a file becomes several of one scale."""

_CHANNELS = (-128, 127)
_FARTHEST = {"e4m3": 14}
"""Largest distance of a scale where it is not all that its bits hold: E4M3's exponents are 1..15."""


class _Held(NamedTuple):
    """What becomes of codes and signs: fields of ``QuantizedWeights``."""

    dtype: DataType
    codes: NDArray[np.uint8]
    selector: NDArray[np.uint8]
    zero_point: NDArray[np.int16]


class Inexact(ValueError):
    """Numbers that ``QuantizedWeights`` does not hold exactly; the text says which."""


@dataclass(frozen=True, eq=False)
class Stored:
    """A matrix of K outputs and C inputs in D groups an output.

    Attributes:
        codes: uint8 ``[K, C]``.
        scale: float32 ``[K, D]``, any sign.
        group: inputs of a group; the last one may be shorter.
        bits: width of a code whose value is the code itself, 2..8.
        dtype: data type whose table has the values, instead of ``bits``.
        zero: integer ``[K, D]`` or a single one, taken from the values; 0 with ``dtype``.
        offset: float32 ``[K, D]``, or None.
        scale_format: how the scales are held, a name in ``golden.numbers.scales``.
    """

    codes: NDArray[np.integer]
    scale: NDArray[np.float32]
    group: int
    bits: int = 0
    dtype: DataType | None = None
    zero: NDArray[np.integer] | int = 0
    offset: NDArray[np.float32] | None = None
    scale_format: str = "fp16"

    def array(self) -> NDArray[np.float32]:
        """Real weights, float32 ``[K, C]``: products in float32, then the offset."""
        table = np.arange(256, dtype=np.float32) if self.dtype is None else self.dtype.values()
        values = table.astype(np.float32)[self.codes]
        if np.any(self.zero):
            values -= self._spread(np.broadcast_to(self.zero, self.scale.shape).astype(np.float32))
        values *= self._spread(self.scale)
        if self.offset is not None:
            values += self._spread(self.offset)
        return values

    def quantized(self, longest: int = GROUPS[0]) -> QuantizedWeights:
        """The same weights as a quantised matrix.

        Args:
            longest: most inputs of a group; longer ones become several of one scale, if a length of
                ``GROUPS`` divides them.

        Raises:
            Inexact: a scale or an offset is not finite, has too many significant bits, or lies too far from
                the others of its row.
        """
        if not all(np.isfinite(part).all() for part in (self.scale, self.offset) if part is not None):
            raise Inexact("scales and offsets must be finite")
        whole = self._split(longest)
        held = whole._table() if whole.dtype else whole._integers()
        form = scales.get(whole.scale_format)
        encoded = _encoded(np.abs(whole.scale).astype(np.float64), whole.offset, form)
        return QuantizedWeights(group=whole.group, scale_format=form, **held._asdict(), **encoded)

    def _spread(self, per_group: NDArray) -> NDArray:
        return np.repeat(per_group, self.group, axis=1)[:, : self.codes.shape[1]]

    def _split(self, longest: int) -> "Stored":
        """The same in groups of at most ``longest`` inputs, where that is possible."""
        inputs, alone = self.codes.shape[1], self.scale.shape[1] == 1
        fits = (length for length in GROUPS if length <= longest and (alone or not self.group % length))
        if self.group <= longest or not (group := next(fits, 0)):
            return self

        def repeated(per_group: NDArray) -> NDArray:
            per_group = np.broadcast_to(per_group, self.scale.shape)
            return np.repeat(per_group, -(-self.group // group), axis=1)[:, : -(-inputs // group)]

        offset = None if self.offset is None else repeated(self.offset)
        zero = repeated(np.asarray(self.zero))
        return replace(self, scale=repeated(self.scale), zero=zero, offset=offset, group=group)

    def _table(self) -> _Held:
        """Data type, codes, selectors and zero points where a table has the values."""
        assert self.dtype is not None
        codes, negative = self.codes, np.signbit(self.scale) & (self.scale != 0)
        selector, nothing = np.zeros(negative.shape, np.uint8), np.zeros(negative.shape, np.int16)
        if self.dtype.decoder == "table":
            return _Held(self.dtype, codes.astype(np.uint8, copy=False), negative.astype(np.uint8), nothing)
        if negative.any():
            values = self.dtype.values()
            opposite = np.abs(values[:, None] + values).argmin(1).astype(np.uint8)
            codes = np.where(self._spread(negative), opposite[codes], codes)
        return _Held(self.dtype, codes.astype(np.uint8, copy=False), selector, nothing)

    def _integers(self) -> _Held:
        """The same where codes are integers: the narrowest type that a packet can hold them in."""
        half = 1 << self.bits - 1
        negative = np.signbit(self.scale) & (self.scale != 0)
        values = self.codes.astype(np.int16) - half
        zero_point = np.broadcast_to(half - np.asarray(self.zero), negative.shape).astype(np.int16)
        if negative.any():
            values ^= self._spread(-negative.astype(np.int16))
            zero_point = np.where(negative, 1 - zero_point, zero_point).astype(np.int16)
        bits, kind = self.bits, "_asym"
        far = (zero_point < 1 - half) | (zero_point > half)
        mixed = (far if self.offset is None else negative).any()
        if mixed and bits < 8:  # a packet's zero point reaches less far, and beside an offset it has none
            left = np.zeros_like(zero_point) if self.offset is not None else negative.astype(np.int16)
            values, zero_point, bits = values + self._spread(zero_point - left), left, bits + 1
        if not zero_point.any():
            kind = ""
        dtype = datatypes.get(f"int{bits}{kind}")
        codes = dtype.code_of[values & (1 << bits) - 1]
        return _Held(dtype, codes, np.zeros(negative.shape, np.uint8), zero_point)


def _encoded(
    scale: NDArray[np.float64], offset: NDArray[np.float32] | None, form: ScaleFormat
) -> dict[str, Any]:
    """Scales and offsets as the integer fields of ``QuantizedWeights``."""
    mantissa, unit = _parts(scale, form.significand_bits, "scale")
    if form.mantissa_bits == 0 and not mantissa.all():
        raise Inexact(f"a scale of 0 is not a power of two ({form.name})")
    units = [np.where(mantissa != 0, unit, -1000)]
    low = low_unit = None
    if offset is not None:
        low, low_unit = _parts(offset.astype(np.float64), OFFSET_MANTISSA_BITS, "offset")
        units.append(np.where(low != 0, low_unit, -1000))
    top = np.concatenate(units, 1).max(1)
    channel = np.where(top > -1000, np.maximum(top, _CHANNELS[0]), 0)
    if channel.max() > _CHANNELS[1]:
        raise Inexact("a scale must be below 2^127")
    farthest = _FARTHEST.get(form.name, (1 << form.distance_bits) - 1)
    fields: dict[str, NDArray] = dict(
        zip(("scale_mantissa", "scale_distance"), _placed(mantissa, unit, channel, farthest), strict=True)
    )
    if low is not None and low_unit is not None:
        names = ("offset_mantissa", "offset_distance")
        fields |= dict(zip(names, _placed(low, low_unit, channel, farthest), strict=True))
    kinds = {"scale_mantissa": np.uint16, "offset_mantissa": np.int16}
    typed = {name: array.astype(kinds.get(name, np.uint8)) for name, array in fields.items()}
    return typed | {"channel_exponent": channel.astype(np.int16)}


def _parts(real: NDArray[np.float64], bits: int, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers of at most ``bits`` bits and the exponents of their units."""
    fraction, exponent = np.frexp(real)
    mantissa = np.ldexp(fraction, bits)
    if (mantissa != np.rint(mantissa)).any():
        raise Inexact(f"{name}s must have at most {bits} significant bits")
    return mantissa.astype(np.int64), exponent.astype(np.int64) - bits


def _placed(
    mantissa: NDArray[np.int64], unit: NDArray[np.int64], channel: NDArray[np.int64], farthest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mantissas and their distances below the channel; what lies farther gives up zeros at its end."""
    distance = np.where(mantissa != 0, channel[:, None] - unit, 0)
    lost = np.maximum(distance - farthest, 0)
    shifted = mantissa >> np.minimum(lost, 62)
    if (shifted << np.minimum(lost, 62) != mantissa).any():
        raise Inexact(f"scales and offsets of a row must lie within 2^{farthest} of each other")
    return shifted, np.minimum(distance, farthest)


def packable(q: QuantizedWeights) -> QuantizedWeights:
    """The same weights in a data type that packets have: the values of a table as 8-bit integers."""
    if q.dtype.decoder != "table":
        return q
    dtype = datatypes.get("int8")
    codes = dtype.code_of[q.integers() & 255]
    return replace(q, dtype=dtype, codes=codes, selector=np.zeros_like(q.selector))
