"""Query unit: elements of queries to the base-2 domain, times log2(e) / sqrt(D), rounded to tf32.

Meaning: ``golden.attention.scores.fold``. Half of an element's significand is multiplied a cycle.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.attention.scores import query_factor
from golden.numbers.floats import EXPONENT_BIAS
from hw.config import Config
from hw.kv.fixed_point import MANTISSA_BITS
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP
from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold

__all__ = ["DELAY", "PACE", "QueryUnit", "scaled", "unscaled"]

PACE = 2
"""Cycles of an element."""
DELAY = 3
"""From the first cycle of an element to the one in which it is there."""

_FACTOR_BITS = 16
_LOW_BITS = 6
"""Of a significand, for its first cycle."""
_SUM_BITS = _FACTOR_BITS + _LOW_BITS
_EXPONENT_BITS = 6
_ZERO = 16

scaled = data.StructLayout(
    {"fraction": MANTISSA_BITS - 1, "exponent": _EXPONENT_BITS, "negative": 1},
)
"""A tf32 number of 2^-28 to below 2^15, its exponent field modulo 64, or 0, with 16 in the field's place."""


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
        result (out): in the latter cycle of the following element, ``DELAY`` behind this one's first.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.factors = [
            query_factor(SHORTEST_GROUP * (number + 1))
            for number in range(config.kv.channels // SHORTEST_GROUP)
        ]
        super().__init__(
            {
                "latter": In(1),
                "half": In(HALF_BITS),
                "groups": In(range(len(self.factors))),
                "blank": In(1),
                "special": Out(1),
                "result": Out(scaled),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        former = ~self.latter
        number, place = self._normalise(m)
        absent = Signal()
        lowest = Signal(_EXPONENT_BITS)
        bases = Array([EXPONENT_BIAS["tf32"] + exponent for _, exponent in self.factors])
        m.d.comb += [
            self.special.eq(self.half[10:15].all()),
            absent.eq(self.blank | self.special),
            lowest.eq(place + bases[self.groups]),
        ]
        significand = Signal(MANTISSA_BITS, reset_less=True)
        m.d.sync += significand.eq(Mux(former, Mux(absent, 0, number), significand >> _LOW_BITS))
        groups = hold(m, former, "groups", self.groups)
        exponent = hold(m, self.latter, "exponent", Mux(absent | ~number[-1], _ZERO, lowest))
        negative = hold(m, self.latter, "negative", self.half[-1] & ~absent)
        product = self._multiply(m, significand, groups)
        m.d.comb += [
            self._round(m, product, exponent),
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

    def _multiply(self, m: Module, significand: Value, groups: Value) -> Value:
        """Product with the factor, but for its lowest bits."""
        single = Signal(_FACTOR_BITS)
        triple = Signal(_FACTOR_BITS + 2)
        m.d.comb += [
            single.eq(Array([factor for factor, _ in self.factors])[groups]),
            triple.eq(Array([3 * factor for factor, _ in self.factors])[groups]),
        ]
        total = Signal(_SUM_BITS - _LOW_BITS, reset_less=True)
        rows: list[Value] = []
        for place in range(0, _LOW_BITS, 2):
            odd, two = significand[place], significand[place + 1]
            multiple = Mux(two, Mux(odd, triple, single << 1), Mux(odd, single, 0))
            rows.append(Cat(Const(0, place), multiple))
        rows.append(Mux(self.latter, 0, total))
        left, right = compress(m, rows, _SUM_BITS, name="product")
        m.d.sync += total.eq((left + right)[_LOW_BITS:_SUM_BITS])
        return total[:-1]

    def _round(self, m: Module, product: Value, exponent: Value) -> Value:
        """To nearest.

        There are no ties: a product would need 14 zeros at its end, and has at most 10 of the significand
        and 3 of the factor. No significand rounds up to 2 if it is beyond the middle: the factor is too small.
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
