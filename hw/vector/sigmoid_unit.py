"""Factors of sigmoids: an element a cycle.

Meaning: ``golden.vector.sigmoid``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.tables import FINE_EXP2, FINE_RECIPROCAL
from hw.numbers.pipeline import hold
from hw.numbers.table_engine import TableEngine
from hw.vector.float_multiplier import BIAS, FRACTION

__all__ = ["LATENCY", "ONE", "SigmoidUnit"]

LATENCY = 8
"""Cycles from an element to its factors."""
ONE = BIAS << FRACTION
_BITS = FINE_EXP2.shape.argument_bits
_DROPPED = FINE_EXP2.shape.value_bits - FRACTION
_INTEGER_BITS = 7
_FIXED_BITS = _INTEGER_BITS + _BITS
_LARGEST_FIELD = BIAS + _INTEGER_BITS - 1


class SigmoidUnit(wiring.Component):
    """Two table engines and two shifters; never halts. The factors leave the last logic directly.

    Members:
        t (in): bits of log2(e) times an argument.
        r, u (out): bits of the factors of its sigmoid, ``LATENCY`` cycles later.
    """

    t: In(32)
    r: Out(32)
    u: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.power = power = TableEngine([FINE_EXP2])
        m.submodules.quotient = quotient = TableEngine([FINE_RECIPROCAL])
        m.d.comb += [power.advance.eq(1), quotient.advance.eq(1)]
        complement = ~self._fixed(m)
        m.d.comb += power.argument.eq(complement[:_BITS])
        # 1 less than what u moves down by; engine and shifter take two cycles each
        places = self._later(m, "places", ~complement[_BITS:], 2)
        fraction = Signal(FRACTION)
        m.d.comb += fraction.eq(power.value[_DROPPED:])
        below = self._below(m, fraction, places)
        m.d.comb += quotient.argument.eq(below)
        nothing = self._later(m, "nothing", ~below.any(), 2)
        field = Signal(8)
        negative = Signal(31)
        m.d.comb += [
            field.eq(BIAS - 1 - places),
            negative.eq(Mux(places >= BIAS - 1, 0, Cat(fraction, field))),
        ]
        sign = self._later(m, "sign", self.t[-1], LATENCY - 4)
        factor = self._later(m, "u", Mux(sign, negative, ONE), 4)
        value = Signal(FRACTION)
        m.d.comb += [
            value.eq(quotient.value[_DROPPED - 1 :]),
            self.r.eq(Mux(nothing, ONE, Cat(value, Const(BIAS - 1, 8)))),
            self.u.eq(factor),
        ]
        return m

    def _later(self, m: Module, name: str, value: Value, cycles: int) -> Value:
        for cycle in range(cycles):
            value = hold(m, None, f"{name}_{cycle}", value)
        return value

    def _fixed(self, m: Module) -> Value:
        """|t| in units of 2^-18, down; two cycles."""
        field, significand = self.t[FRACTION:-1], Cat(self.t[:FRACTION], Const(1, 1))
        amount = Signal(8)
        fixed = Signal(_FIXED_BITS)
        m.d.comb += [
            amount.eq(_LARGEST_FIELD - field),
            fixed.eq(Cat(Const(0, _FIXED_BITS - FRACTION - 1), significand)),
        ]
        full = self._later(m, "full", field > _LARGEST_FIELD, 2)
        coarse = Mux(amount[5:].any(), 0, fixed >> Cat(Const(0, 3), amount[3:5]))
        coarse = hold(m, None, "coarse", coarse)
        fine = hold(m, None, "fine", coarse >> hold(m, None, "amount", amount[:3]))
        return fine | full.replicate(_FIXED_BITS)

    def _below(self, m: Module, fraction: Value, places: Value) -> Value:
        """u in units of 2^-18, down; two cycles."""
        significand = Cat(fraction[FRACTION - _BITS :], Const(1, 1))
        moved = Signal(_BITS)
        m.d.comb += moved.eq(significand[1:])
        coarse = Mux(places[5:].any(), 0, moved >> Cat(Const(0, 3), places[3:5]))
        coarse = hold(m, None, "below_coarse", coarse)
        return hold(m, None, "below", coarse >> hold(m, None, "below_amount", places[:3]))
