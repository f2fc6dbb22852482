"""Query unit: elements of queries to the base-2 domain, times log2(e) / sqrt(D), rounded to tf32.

Meaning: ``golden.attention.scores.fold``. Half of an element's significand is multiplied a cycle.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.floats import EXPONENT_BIAS
from hw.attention.query_multiplier import QueryMultiplier, factors
from hw.config import Config
from hw.kv.fixed_point import MANTISSA_BITS
from hw.kv.payloads import HALF_BITS
from hw.numbers.pipeline import hold

__all__ = ["PACE", "QueryUnit", "scaled", "unscaled"]

PACE = 2
"""Cycles of an element."""

_EXPONENT_BITS = 6
_ZERO = 16
"""In the place of an exponent field: no other number has it."""

scaled = data.StructLayout(
    {"fraction": MANTISSA_BITS - 1, "exponent": _EXPONENT_BITS, "negative": 1},
)
"""A tf32 number of 2^-28 to below 2^15, its exponent field modulo 64, or 0."""


def unscaled(number: data.View) -> Value:
    """The tf32 number: its exponent field is 99 to 127, or 128 to 141, or 0."""
    field = number.exponent
    small = field[5]
    return Cat(
        number.fraction, field[:4], field[4] & small, small, small, ~(field[4] | small), number.negative
    )


class QueryUnit(wiring.Component):
    """Work out an element every ``PACE`` cycles.

    Members:
        latter (in): the second cycle of an element; in the first one it is 0.
        half (in): float16, the same in both cycles.
        groups (in): one less than a 16th of D, likewise.
        blank (in): +0 takes the element's place, likewise.
        special (out): ``half`` is infinite or NaN, which becomes +0.
        result (out): in the latter cycle of the following element, two cycles behind this one's.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "latter": In(1),
                "half": In(HALF_BITS),
                "groups": In(range(len(factors(config)))),
                "blank": In(1),
                "special": Out(1),
                "result": Out(scaled),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        number, place = self._normalise(m)
        absent = Signal()
        lowest = Signal(_EXPONENT_BITS)
        bases = Array([EXPONENT_BIAS["tf32"] + exponent for _, exponent in factors(self.config)])
        m.d.comb += [
            self.special.eq(self.half[10:15].all()),
            absent.eq(self.blank | self.special),
            lowest.eq(place + bases[self.groups]),
        ]
        m.submodules.multiplier = multiplier = QueryMultiplier(self.config)
        m.d.comb += [
            multiplier.latter.eq(self.latter),
            multiplier.significand.eq(Mux(absent, 0, number)),
            multiplier.choice.eq(self.groups),
        ]
        exponent = hold(m, self.latter, "exponent", Mux(absent | ~number[-1], _ZERO, lowest))
        negative = hold(m, self.latter, "negative", self.half[-1] & ~absent)
        m.d.comb += [
            self._round(m, multiplier.product, exponent),
            self.result.negative.eq(negative),
        ]
        return m

    def _normalise(self, m: Module) -> tuple[Value, Value]:
        """Significand with its leading bit at the top, and the field that it has so; 0 stays 0."""
        mantissa = Signal(MANTISSA_BITS)
        zeros = Signal(range(MANTISSA_BITS))
        place = Signal(_EXPONENT_BITS)
        field = self.half[10:15]
        m.d.comb += [mantissa.eq(Cat(self.half[:10], field.any())), place.eq(field)]
        with m.If(~field.any()):
            for leading in range(10):
                with m.If(self.half[leading]):
                    m.d.comb += [zeros.eq(10 - leading), place.eq(leading - 9)]
        number: Value = mantissa
        for level in reversed(range(len(zeros))):
            moved = Signal(MANTISSA_BITS, name=f"normal_{level}")
            m.d.comb += moved.eq(Mux(zeros[level], number << (1 << level), number))
            number = moved
        return number, place

    def _round(self, m: Module, product: Value, exponent: Value) -> Value:
        """To nearest.

        There are no ties: a product would need 14 zeros at its end, and has at most 10 of the significand
        and 3 of the factor. No long product rounds up to 2, since not even 2047 * 65535 would.
        """
        long = product[-1]
        kept = Signal(MANTISSA_BITS)  # with half a unit
        rounded = Signal(MANTISSA_BITS)
        m.d.comb += [
            kept.eq(Mux(long, product[-MANTISSA_BITS - 1 : -1], product[-MANTISSA_BITS - 2 : -2])),
            rounded.eq(kept[1:] + kept[0]),
        ]
        return Cat(self.result.fraction, self.result.exponent).eq(
            Cat(rounded[:-1], (exponent + (long | rounded[-1]))[:_EXPONENT_BITS])
        )
