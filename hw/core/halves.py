"""Float32 to float16 in two steps, each for a register of its own."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

__all__ = ["SINGLE_BITS", "rounded", "unrounded", "unrounded_half"]

SINGLE_BITS = 32

_EXPONENT, _FRACTION = slice(23, 31), 23
_DROPPED = 13
"""Bits of a fraction that float16 does not have."""
_LEAST = 113
"""Exponent field of the smallest normal float16."""
_MOST_SHIFT = 12
"""More leaves nothing of a significand but that it is not zero."""

unrounded_half = data.StructLayout({"magnitude": 15, "half": 1, "rest": 1, "negative": 1})
"""A float16 that is yet to be rounded: ``half`` of a unit in the last place, and whether there is more."""


def unrounded(m: Module, element: Value, name: str) -> data.View:
    """A float32 as float16 before its rounding; infinite beyond the range, NaN is 0x7E00."""
    exponent = Signal(8, name=f"{name}_exponent")
    fraction = Signal(_FRACTION, name=f"{name}_fraction")
    below = Signal(8, name=f"{name}_below")
    shift = Signal(range(_MOST_SHIFT + 1), name=f"{name}_shift")
    aligned = Signal(_MOST_SHIFT + _FRACTION + 1, name=f"{name}_aligned")
    found = Signal(unrounded_half, name=f"{name}_unrounded")
    beyond = Signal(name=f"{name}_beyond")
    is_nan = Signal(name=f"{name}_is_nan")
    significand = Cat(Const(0, _MOST_SHIFT), fraction, Const(1, 1))
    normal = exponent >= _LEAST
    low = _MOST_SHIFT + _DROPPED
    m.d.comb += [
        exponent.eq(element[_EXPONENT]),
        fraction.eq(element[:_FRACTION]),
        below.eq(_LEAST - exponent),
        shift.eq(Mux(normal, 0, Mux(below > _MOST_SHIFT, _MOST_SHIFT, below))),
        aligned.eq(significand >> shift),
        beyond.eq(exponent >= _LEAST + 30),
        is_nan.eq(exponent.all() & fraction.any()),
        found.magnitude.eq(Cat(aligned[low : low + 10], Mux(normal, exponent - (_LEAST - 1), 0)[:5])),
        found.half.eq(aligned[low - 1]),
        found.rest.eq(aligned[: low - 1].any()),
        found.negative.eq(element[-1]),
    ]
    with m.If(beyond):
        m.d.comb += [found.magnitude.eq(0x7C00), found.half.eq(0)]
    with m.If(is_nan):
        m.d.comb += [found.magnitude.eq(0x7E00), found.negative.eq(0)]
    return found


def rounded(number: data.View) -> Value:
    """To nearest even, 16 bits."""
    magnitude = number.magnitude
    return Cat((magnitude + (number.half & (number.rest | magnitude[0])))[:15], number.negative)
