"""Conversions of floats at the borders of scratch memory, as logic without registers.

Meaning: ``golden.numbers.floats``: ``encode`` rounds to nearest even, ``decode`` is exact.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

__all__ = ["half_of_single", "single_of_half", "tf32_of_single"]

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


def half_of_single(m: Module, single: Value, name: str) -> Signal:
    """The float16 nearest to a float32: infinite beyond the largest one, subnormal where it must be."""
    result = Signal(16, name=name)
    field = Signal(8, name=f"{name}_field")
    significand = Signal(_FRACTION + 1, name=f"{name}_significand")
    shift = Signal(5, name=f"{name}_shift")
    shifted = Signal(2 * _FRACTION + 4, name=f"{name}_shifted")
    kept = Signal(15, name=f"{name}_kept")
    least = _BIAS_STEP + 1  # field of the smallest normal float16
    m.d.comb += [
        field.eq(single[_FRACTION:31]),
        significand.eq(Cat(single[:_FRACTION], field != 0)),
        # Places that a subnormal result loses beside the thirteen of every one.
        shift.eq(Mux(field >= least, 0, Mux(field < least - 25, 25, least - field))),
        shifted.eq(Cat(Const(0, 26), significand) >> shift),
    ]
    cut = 26 + 13
    rest = shifted[:cut]
    significant = shifted[cut:]
    up = rest[-1] & (rest[:-1].any() | significant[0])
    base = Mux(field >= least, (field - least)[:6] << 10, 0)
    m.d.comb += kept.eq(base + significant + up)
    overflow = (field >= least + 30) | (kept >= 31 << 10)
    is_nan = field.all() & single[:_FRACTION].any()
    with m.If(is_nan):
        m.d.comb += result.eq(_QUIET_HALF)
    with m.Elif(overflow):
        m.d.comb += result.eq(Cat(Const(0, 10), Const(31, 5), single[31]))
    with m.Else():
        m.d.comb += result.eq(Cat(kept, single[31]))
    return result
