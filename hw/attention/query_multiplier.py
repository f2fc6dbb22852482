"""Query multiplier: significands times log2(e) / sqrt(D), half of their bits a cycle."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.attention.scores import query_factor
from hw.config import Config
from hw.kv.fixed_point import MANTISSA_BITS
from hw.kv.payloads import SHORTEST_GROUP
from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold

__all__ = ["PRODUCT_BITS", "QueryMultiplier", "factors"]

_FACTOR_BITS = 16
_LOW_BITS = 6
"""Of a significand, for its first cycle."""
_SUM_BITS = _FACTOR_BITS + _LOW_BITS
PRODUCT_BITS = _FACTOR_BITS + MANTISSA_BITS - 2 * _LOW_BITS
"""Upper bits of the product; the others decide nothing."""


def factors(config: Config) -> list[tuple[int, int]]:
    """As of ``query_factor``, for 16, 32, 48 and more channels."""
    return [
        query_factor(SHORTEST_GROUP * (number + 1)) for number in range(config.kv.channels // SHORTEST_GROUP)
    ]


class QueryMultiplier(wiring.Component):
    """Multiply a significand every other cycle.

    Members:
        latter (in): every other cycle; in those before a significand is taken.
        significand (in): 0, or an integer of 11 bits.
        choice (in): of a factor, one less than a 16th of D; taken with it.
        product (out): three cycles later, a latter one.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.factors = [factor for factor, _ in factors(config)]
        super().__init__(
            {
                "latter": In(1),
                "significand": In(MANTISSA_BITS),
                "choice": In(range(len(self.factors))),
                "product": Out(PRODUCT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits = Signal(MANTISSA_BITS, reset_less=True)
        m.d.sync += digits.eq(Mux(self.latter, digits >> _LOW_BITS, self.significand))
        choice = hold(m, ~self.latter, "choice", self.choice)
        single = Signal(_FACTOR_BITS)
        triple = Signal(_FACTOR_BITS + 2)
        m.d.comb += [
            single.eq(Array(self.factors)[choice]),
            triple.eq(Array([3 * factor for factor in self.factors])[choice]),
        ]
        total = Signal(_SUM_BITS - _LOW_BITS, reset_less=True)
        rows: list[Value] = []
        for place in range(0, _LOW_BITS, 2):
            odd, two = digits[place], digits[place + 1]
            multiple = Mux(two, Mux(odd, triple, single << 1), Mux(odd, single, 0))
            rows.append(Cat(Const(0, place), multiple))
        rows.append(Mux(self.latter, 0, total))  # there the product begins
        left, right = compress(m, rows, _SUM_BITS, name="product")
        m.d.sync += total.eq((left + right)[_LOW_BITS:_SUM_BITS])
        m.d.comb += self.product.eq(total)
        return m
