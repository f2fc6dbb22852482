"""Conversions of floats at the borders of scratch memory, as logic without registers.

Meaning: ``golden.numbers.floats``: ``encode`` rounds to nearest even, ``decode`` is exact.
"""

from amaranth.hdl import Cat, Const, Mux, Value

__all__ = ["single_of_half", "tf32_of_single"]

_FRACTION = 23
_BIAS_STEP = 127 - 15
_QUIET_HALF = 0x7E00
_QUIET_TF32 = 0x3FE00


def tf32_of_single(single: Value) -> Value:
    """TF32, 19 bits, of a float32."""
    dropped = 13
    rounded = (single + ((1 << dropped - 1) - 1) + single[dropped])[dropped:32]
    is_nan = single[_FRACTION:31].all() & single[:_FRACTION].any()
    return Mux(is_nan, _QUIET_TF32, rounded)


def single_of_half(half: Value) -> Value:
    """The float32 of a float16."""
    fraction, field, negative = half[:10], half[10:15], half[15]
    result = Mux(field == 31, Cat(Const(0, 13), fraction, Const(0xFF, 8)), _normal(fraction, field))
    result = Mux(field == 0, _subnormal(fraction), result)
    quiet = Mux((field == 31) & fraction.any(), 0x7FC00000, Cat(result[:31], negative))
    return quiet[:32]


def _normal(fraction: Value, field: Value) -> Value:
    exponent = (field + _BIAS_STEP)[:8]
    return Cat(Const(0, 13), fraction, exponent)


def _subnormal(fraction: Value) -> Value:
    """Of a subnormal float16, or 0: its leading one is the hidden bit."""
    result = Const(0, 31)
    for place in range(10):
        below = Cat(Const(0, _FRACTION - place), fraction[:place]) if place else Const(0, _FRACTION)
        exponent = Const(place - 24 + 127, 8)
        result = Mux(fraction[place], Cat(below, exponent), result)
    return result
