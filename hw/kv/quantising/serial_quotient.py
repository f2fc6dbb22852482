"""Serial quotient: an integer divided by a small one and rounded to a float16, two bits a cycle.

Meaning: ``golden.kv.rules`` (scale of ``native``) and ``golden.kv.magnitudes.mean``. Bits of the quotient
come from the top; the first eleven significant ones above the point are the mantissa, the next bit and all
others, with the remainder, decide about rounding to nearest even.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.kv.fixed_point import FINITE_BITS, LARGEST_MAGNITUDE, MANTISSA_BITS
from hw.kv.payloads import CODE_BITS, HALF_BITS

__all__ = ["FRACTION_BITS", "INTEGER_BITS", "STEPS", "SerialQuotient"]

INTEGER_BITS = FINITE_BITS + 1
"""Of the difference of two float16 in units of 2**-24, without its sign."""

FRACTION_BITS = 7
STEPS = (INTEGER_BITS + 1) // 2
"""Cycles with ``advance``: every bit down to the first one below the point."""


class SerialQuotient(wiring.Component):
    """Divide and round.

    Members:
        dividend (in): in units of 2**-24, with ``FRACTION_BITS`` below.
        divisor (in): 1 to 255, held.
        load (in): take the dividend and begin.
        advance (in): two bits more; ``STEPS`` times.
        at_least_one (in): what is not zero becomes at least one unit.
        half (out): the quotient, a float16 of at most 65504.
    """

    dividend: In(INTEGER_BITS + FRACTION_BITS)
    divisor: In(CODE_BITS)
    load: In(1)
    advance: In(1)
    at_least_one: In(1)
    half: Out(HALF_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rest = Signal(INTEGER_BITS + FRACTION_BITS, reset_less=True)
        remainder = Signal(CODE_BITS, reset_less=True)
        mantissa = Signal(MANTISSA_BITS, reset_less=True)
        weight = Signal(range(INTEGER_BITS), reset_less=True)
        exponent = Signal(range(INTEGER_BITS), reset_less=True)
        guard = Signal(reset_less=True)
        guarded = Signal(reset_less=True)
        sticky = Signal(reset_less=True)

        first, after_first = self._divide(m, "first", remainder, rest[-1])
        second, after_second = self._divide(m, "second", after_first, rest[-2])
        fraction = weight == 0  # the second bit is below the point
        full = mantissa[-1]
        halfway = Signal.like(mantissa)
        fills = Signal()
        m.d.comb += [halfway.eq(Mux(full, mantissa, Cat(first, mantissa))), fills.eq(halfway[-1] | fraction)]
        with m.If(self.advance):
            m.d.sync += [
                rest.eq(rest << 2),
                remainder.eq(after_second),
                mantissa.eq(Mux(fills, halfway, Cat(second, halfway))),
                guard.eq(Mux(guarded, guard, Mux(full, first, second & fills))),
                guarded.eq(guarded | fills),
                sticky.eq(sticky | (guarded & first) | ((guarded | full) & second)),
                weight.eq(weight - 2),
            ]
            with m.If(~full):
                m.d.sync += exponent.eq(weight - ~fills)
        with m.If(self.load):
            m.d.sync += [
                rest.eq(self.dividend),
                Cat(remainder, mantissa, guard, guarded, sticky).eq(0),
                weight.eq(INTEGER_BITS - 1),
            ]

        inexact = Signal()
        rounded = Signal(HALF_BITS)
        m.d.comb += inexact.eq(sticky | remainder.any() | rest.any())
        m.d.comb += rounded.eq((exponent << MANTISSA_BITS - 1) + mantissa + (guard & (inexact | mantissa[0])))
        with m.If(rounded > LARGEST_MAGNITUDE):
            m.d.comb += self.half.eq(LARGEST_MAGNITUDE)
        with m.Else():
            tiny = self.at_least_one & ~rounded.any() & (guard | inexact)
            m.d.comb += self.half.eq(rounded | tiny)
        return m

    def _divide(self, m: Module, name: str, remainder: Value, bit: Value) -> tuple[Value, Value]:
        """A bit of the quotient and what remains."""
        longer = Cat(bit, remainder)
        less = Signal(CODE_BITS + 2, name=f"less_{name}")
        m.d.comb += less.eq(longer - self.divisor)
        taken = ~less[-1]
        return taken, Mux(taken, less[:CODE_BITS], longer[:CODE_BITS])
