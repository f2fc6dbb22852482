"""Weight unit: scores to weights, 2^(score - maximum), and each weight in units of the sum of weights.

Meaning: ``golden.attention.softmax.weights`` and ``golden.attention.engine``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import LEAST_WEIGHT, SCORE_FRACTION, TOTAL_FRACTION
from golden.numbers.tables import EXP2, VALUE_BITS
from hw.attention.payloads import MAXIMUM_BITS, SCORE_BITS
from hw.numbers import table_engine
from hw.numbers.pipeline import hold
from hw.numbers.table_engine import TableEngine

__all__ = ["LATENCY", "WeightUnit", "weight"]

LATENCY = table_engine.LATENCY + 1
"""Cycles from a score to its weight; its share follows by one."""

_SIGNIFICAND = 11
_BELOW_BITS = 6

weight = data.StructLayout({"fraction": _SIGNIFICAND - 1, "exponent": 7})
"""A tf32 number of 0 to 1: it has neither the topmost bit of the exponent nor a sign."""


class WeightUnit(wiring.Component):
    """Work out a weight a cycle; nothing halts it.

    Members:
        present (in): there is a score.
        valid (in): it is that of a valid token; the weights of others are 0.
        score (in): not above the maximum.
        maximum (in): of the query.
        written, weight (out): ``LATENCY`` cycles later.
        share, carry (out): one more cycle later; the weight in units of 2^-32 is their sum. Both are 0
            without a score.
    """

    present: In(1)
    valid: In(1)
    score: In(signed(SCORE_BITS))
    maximum: In(signed(MAXIMUM_BITS))
    written: Out(1)
    weight: Out(weight)
    share: Out(TOTAL_FRACTION + 1)
    carry: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = TableEngine([EXP2])
        m.d.comb += [engine.advance.eq(1), engine.argument.eq(self.score[:SCORE_FRACTION])]
        distance = Signal(MAXIMUM_BITS)
        below = Signal(_BELOW_BITS)
        some = Signal()
        m.d.comb += [
            distance.eq(self.maximum - self.score[SCORE_FRACTION:].as_signed()),
            below.eq(distance),
            some.eq(self.present & self.valid & (distance <= -LEAST_WEIGHT)),
        ]
        written = self.present
        for stage in range(LATENCY):
            below, some = hold(m, None, f"below_{stage}", below), hold(m, None, f"some_{stage}", some)
            written = hold(m, None, f"present_{stage}", written, reset=True)
        dropped = VALUE_BITS - _SIGNIFICAND + 1
        rounded = Signal(_SIGNIFICAND)
        m.d.comb += rounded.eq(engine.value[dropped:] + engine.value[dropped - 1])
        significand = hold(m, None, "significand", rounded)
        m.d.comb += [
            self.written.eq(written),
            self.weight.fraction.eq(Mux(some, significand[:-1], 0)),
            self.weight.exponent.eq(Mux(some, ~Cat(below, Const(0, 1)), 0)),
        ]

        # The window's lowest bit is half a unit: rounding to nearest, ties up, adds it to all above.
        window = Cat(Const(0, TOTAL_FRACTION + 2 - _SIGNIFICAND), Mux(some, significand, 0))
        for level in range(_BELOW_BITS):
            lowered = Signal(len(window), name=f"lowered_{level}")
            m.d.comb += lowered.eq(Mux(below[level], window[1 << level :], window))
            window = lowered
        window = hold(m, None, "window", window)
        m.d.comb += [
            self.share.eq(window[1:]),
            self.carry.eq(window[0]),
        ]
        return m
