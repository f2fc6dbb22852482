"""Stream payloads as Python values: a structured value to the bits of its port and back.

A port carries one unsigned integer. Layouts of ``amaranth.lib.data`` become dictionaries (structures) and
lists (arrays), enumerations become their members, signed fields negative integers. The packing plan of a
shape is worked out once, so that packing costs no Amaranth object a beat.
"""

import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data

__all__ = ["Codec", "codec", "pack", "unpack"]


class Codec(NamedTuple):
    """Both directions of one shape: ``pack(value) -> bits``, ``unpack(bits) -> value``, ``width`` in bits."""

    width: int
    pack: Callable[[Any], int]
    unpack: Callable[[int], Any]


def pack(shape: ShapeLike, value: Any) -> int:
    """The bits of ``value`` as an unsigned integer.

    Raises:
        ValueError: a number does not fit its field; a field is missing, unknown, or a list is too short.
    """
    return codec(shape).pack(value)


def unpack(shape: ShapeLike, bits: int) -> Any:
    """The value that ``bits`` stand for; an enumeration's unused code stays an integer."""
    return codec(shape).unpack(bits)


def codec(shape: ShapeLike) -> Codec:
    """The packing plan of a shape, remembered where the shape is hashable."""
    try:
        return _remembered(shape)
    except TypeError:
        return _plan(shape)


@functools.lru_cache(maxsize=256)
def _remembered(shape: ShapeLike) -> Codec:
    return _plan(shape)


def _plan(shape: ShapeLike) -> Codec:
    if isinstance(shape, type) and issubclass(shape, data.Struct | data.Union):
        return _plan(shape.as_shape())
    if isinstance(shape, data.ArrayLayout):
        return _array(shape)
    if isinstance(shape, data.UnionLayout):
        return _union(shape)
    if isinstance(shape, data.Layout):
        return _structure(shape)
    if isinstance(shape, type) and issubclass(shape, enum.Enum):
        return _enumeration(shape)
    return _number(Shape.cast(shape))


def _number(shape: Shape) -> Codec:
    width = shape.width
    modulus = 1 << width
    lowest = -(modulus >> 1) if shape.signed else 0
    highest = lowest + modulus - 1
    sign = modulus >> 1

    def number_to_bits(value: Any) -> int:
        number = int(value)
        if not lowest <= number <= highest:
            raise ValueError(f"{number} is not in {lowest}..{highest}")
        return number & highest if lowest == 0 else number % modulus

    def bits_to_signed(bits: int) -> int:
        return (bits ^ sign) - sign

    return Codec(width, number_to_bits, bits_to_signed if shape.signed else int)


def _enumeration(members: type[enum.Enum]) -> Codec:
    number = _number(Shape.cast(members))
    by_bits = {number.pack(member.value): member for member in members}

    def member_to_bits(value: Any) -> int:
        return number.pack(value.value if isinstance(value, enum.Enum) else value)

    return Codec(number.width, member_to_bits, lambda bits: by_bits.get(bits, number.unpack(bits)))


def _array(layout: data.ArrayLayout) -> Codec:
    element, length = codec(layout.elem_shape), layout.length
    width, total = element.width, layout.size
    mask = (1 << width) - 1

    def list_to_bits(values: Any) -> int:
        if len(values) != length:
            raise ValueError(f"{len(values)} elements where {length} belong")
        # Joining digits is linear in the length; shifting a growing integer is quadratic.
        digits = "".join([f"{element.pack(value):0{width}b}" for value in reversed(values)]) if width else ""
        return int(digits or "0", 2)

    def bits_to_list(bits: int) -> list[Any]:
        return [element.unpack((bits >> offset) & mask) for offset in range(0, total, width)] if width else []

    return Codec(total, list_to_bits, bits_to_list)


def _structure(layout: data.Layout) -> Codec:
    width = layout.size  # Amaranth works it out at each use
    fields = [(key, field.offset, codec(field.shape)) for key, field in layout]
    names = {key for key, _, _ in fields}

    def mapping_to_bits(value: Any) -> int:
        if isinstance(value, int) or not isinstance(value, Mapping):
            return _raw(width, value)
        if value.keys() != names:
            wrong = sorted(map(str, names ^ value.keys()))
            raise ValueError(f"fields missing or unknown: {', '.join(wrong)}")
        bits = 0
        for key, offset, plan in fields:
            try:
                bits |= plan.pack(value[key]) << offset
            except ValueError as error:
                raise ValueError(f"field {key}: {error}") from None
        return bits

    slices = [(key, offset, (1 << plan.width) - 1, plan.unpack) for key, offset, plan in fields]
    return Codec(
        width,
        mapping_to_bits,
        lambda bits: {key: read((bits >> offset) & mask) for key, offset, mask, read in slices},
    )


def _union(layout: data.UnionLayout) -> Codec:
    width = layout.size
    fields = {key: codec(field.shape) for key, field in layout}

    def member_to_bits(value: Any) -> int:
        if not isinstance(value, Mapping):
            return _raw(width, value)
        if len(value) != 1 or not value.keys() <= fields.keys():
            raise ValueError(f"exactly one of {', '.join(map(str, fields))} belongs here")
        [(key, member)] = value.items()
        return fields[key].pack(member)

    def bits_to_members(bits: int) -> dict[Any, Any]:
        return {key: plan.unpack(bits & ((1 << plan.width) - 1)) for key, plan in fields.items()}

    return Codec(width, member_to_bits, bits_to_members)


def _raw(width: int, value: Any) -> int:
    """A structure given as its bits, which is how an unpacked port or a constant arrives."""
    bits = value.as_bits() if isinstance(value, data.Const) else int(value)
    if bits < 0 or bits.bit_length() > width:
        raise ValueError(f"{bits:#x} does not fit {width} bits")
    return bits
