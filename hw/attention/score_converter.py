"""Score converter: the array's result of a key and its vector's offset term to a score.

Meaning: roundings 4 and 5 of ``golden.attention.scores``, with the scores of pages before if there are any.

A result is a significand of 24 bits, negated where it is negative, and moves left only, into a window whose
lowest bit is half a unit of 2^-18: this bit is what rounding to nearest, ties up, adds to all above. A result
beyond the window becomes its largest magnitude by what the shifter fills in.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import SCORE_FRACTION, TERM_FRACTION
from hw.attention.payloads import MAXIMUM_BITS, SCORE_BITS, TERM_BITS, offset_term
from hw.numbers.pipeline import hold

__all__ = ["EARLIER_DELAY", "HALF_SCORE", "LATENCY", "TERM_DELAY", "ScoreConverter"]

LATENCY = 4
"""Cycles from a result to its score."""
TERM_DELAY = 2
"""Cycles from a result to its offset term."""
EARLIER_DELAY = 3
"""Cycles from a result to the score of the pages before."""

_SIGNIFICAND = 24
_BIAS = 127 + _SIGNIFICAND - 1
_SMALLEST = _BIAS - TERM_FRACTION - _SIGNIFICAND - 1
"""Exponent field of results that stay where they are; those of lower fields are less than half a unit."""
_MOST_PLACES = TERM_BITS
_EARLY_LEVELS, _LATE_LEVELS = (0, 1, 2, 3), (4, 5)
_DROPPED = TERM_FRACTION - SCORE_FRACTION

HALF_SCORE = 1 << _DROPPED - 1
"""Half a unit of a score in those of offset terms."""


class ScoreConverter(wiring.Component):
    """Convert a result a cycle; nothing halts it.

    Args:
        adds: there may be pages before.

    Members:
        result (in): float32, NaN as infinity.
        term (in): the offset term plus ``HALF_SCORE``, ``TERM_DELAY`` cycles after the result.
        earlier (in): the score of the pages before, 0 where there are none, ``EARLIER_DELAY`` cycles after
            the result.
        score (out): from a register.
    """

    def __init__(self, adds: bool = False) -> None:
        self.adds = adds
        earlier = {"earlier": In(signed(SCORE_BITS))} if adds else {}
        super().__init__(
            {"result": In(32), "term": In(offset_term), **earlier, "score": Out(signed(SCORE_BITS))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # First cycle: the sign, and by how many places the significand moves.
        field, negative = self.result[_SIGNIFICAND - 1 : -1], self.result[-1]
        large = Signal()
        small = Signal()
        places = Signal(range(_MOST_PLACES + 1))
        significand = Signal(signed(_SIGNIFICAND + 1))
        magnitude = Cat(self.result[: _SIGNIFICAND - 1], Const(1, 1))
        extreme = Cat((~negative).replicate(_SIGNIFICAND), negative)
        m.d.comb += [
            large.eq(field > _SMALLEST + _MOST_PLACES),
            small.eq(field < _SMALLEST),
            places.eq(Mux(large, _MOST_PLACES, field - _SMALLEST)),
            significand.eq(Mux(large, extreme, Mux(small, 0, Mux(negative, -magnitude, magnitude)))),
        ]
        moving, places = hold(m, None, "significand", significand), hold(m, None, "places", places)
        extreme = hold(m, None, "extreme", large)
        fill = hold(m, None, "fill", large & ~negative)

        # Second and third cycle: the shift, and the offset term.
        for level in _EARLY_LEVELS:
            moving = _shifted(m, moving, places[level], fill, level)
        moving, places = hold(m, None, "moving", moving), hold(m, None, "late_places", places[4:])
        extreme, fill = hold(m, None, "late_extreme", extreme), hold(m, None, "late_fill", fill)
        for number, level in enumerate(_LATE_LEVELS):
            moving = _shifted(m, moving, places[number], fill, level)
        window = Signal(signed(TERM_BITS))
        total = Signal(signed(TERM_BITS + 1))
        m.d.comb += [
            window.eq(moving[_SIGNIFICAND + 1 :]),
            total.eq(window + self.term + (moving[_SIGNIFICAND] ^ extreme)),
        ]

        # Fourth cycle: the score before, and saturation of the integer part.
        total = hold(m, None, "total", total[_DROPPED:])
        if self.adds:
            with_earlier = Signal(signed(len(total) + 1))
            m.d.comb += with_earlier.eq(total.as_signed() + self.earlier)
            total = with_earlier
        sign, integer = total[-1], Signal(MAXIMUM_BITS - 1)
        m.d.comb += integer.eq(total[SCORE_FRACTION:])
        inside = Signal()
        above = total[SCORE_BITS - 1 : -1] ^ sign.replicate(len(total) - SCORE_BITS)
        m.d.comb += inside.eq(~above.any() & Mux(sign, integer.any(), ~integer.all()))
        limit = Cat(Const(0, SCORE_FRACTION), Const(1, 1), (~sign).replicate(MAXIMUM_BITS - 2), sign)
        m.d.comb += self.score.eq(
            hold(m, None, "score", Mux(inside, Cat(total[: SCORE_BITS - 1], sign), limit))
        )
        return m


def _shifted(m: Module, value: Value, moves: Value, fill: Value, level: int) -> Signal:
    """A signed value, moved left by ``2**level`` places or not."""
    places = 1 << level
    shifted = Signal(signed(len(value) + places), name=f"shifted_{level}")
    m.d.comb += shifted.eq(Mux(moves, Cat(fill.replicate(places), value), value.as_signed()))
    return shifted
