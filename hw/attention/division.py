"""Division: value sums divided by the sum of weights, to float16.

Meaning: ``golden.attention.division``. One normaliser and one multiplier serve the reciprocal and the
quotients. Every factor has its leading bit at the top, which changes no product: what is short is filled up
with zeros.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import SUM_BITS
from golden.numbers.tables import ARGUMENT_BITS, RECIPROCAL, VALUE_BITS
from hw.attention.payloads import divisor, quotient, value_sum
from hw.kv.payloads import HALF_BITS
from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold
from hw.numbers.table_engine import TableEngine

__all__ = ["LATENCY", "PACE", "PREPARATION", "Division"]

PACE = 2
"""Cycles of a quotient."""
PREPARATION = 10
"""From a query's divisor to its first sum, in times of ``PACE``."""
LATENCY = 7
"""From a sum to its quotient, in times of ``PACE``, without stalls."""

_BITS = 16
_CORRECTION = 20
_MAGNITUDE_BITS = SUM_BITS - 1
_EARLY_LEVELS, _LATE_LEVELS = (5, 4, 3), (2, 1, 0)
_FIELD_BITS = 8
_FIXED_FIELD = 6
"""Exponent field of a quotient, less one, where nothing moved, ``top`` is 0 and the product is shortest."""
_PRECISION = 11
_LARGEST, _INFINITY, _NAN = 0x7BFF, 0x7C00, 0x7E00


class Division(wiring.Component):
    """Divide a sum every ``PACE`` cycles, after ``PREPARATION`` for each query.

    A divisor is taken when the quotients of the query before have left. A stalled quotient halts everything.

    Members:
        divisors (in stream): of each query, before its sums; ``maximum`` does not matter.
        sums (in stream): value sums.
        quotients (out stream): one for each sum.
    """

    divisors: In(stream.Signature(divisor))
    sums: In(stream.Signature(value_sum))
    quotients: Out(stream.Signature(quotient))

    def __init__(self, config: Any = None) -> None:
        self.config = config
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        advance = Signal()
        upper = Signal()  # half of the multiplier
        dividing = Signal()
        step = Signal(range(PREPARATION))
        special = Signal(reset_less=True)
        error = Signal(reset_less=True)
        top = Signal(len(self.divisors.payload.top), reset_less=True)
        empty = Signal(reset_less=True)
        taken = Signal()
        begins = Signal()
        total = self.sums.payload.sum
        m.d.comb += [
            advance.eq(upper & (~self.quotients.valid | self.quotients.ready)),
            self.sums.ready.eq(dividing & advance),
            taken.eq(self.sums.valid & self.sums.ready),
        ]
        flags = [taken]
        lasts: list[Value] = [self.sums.payload.last]
        signs: list[Value] = [total[-1]]
        for stage in range(LATENCY):
            flags.append(hold(m, advance, f"valid_{stage}", flags[-1], reset=True))
            lasts.append(hold(m, advance, f"last_{stage}", lasts[-1]))
            signs.append(hold(m, advance, f"sign_{stage}", signs[-1]))
        with m.If(self.quotients.ready & ~advance):
            m.d.sync += flags[-1].eq(0)
        m.d.comb += [
            self.divisors.ready.eq(advance & ~dividing & ~step.any() & ~Cat(flags[1:]).any()),
            begins.eq(self.divisors.valid & self.divisors.ready),
        ]
        with m.If(begins):
            m.d.sync += [
                top.eq(self.divisors.payload.top),
                special.eq(self.divisors.payload.special),
                error.eq(self.divisors.payload.error),
            ]
        m.d.sync += upper.eq(~advance)
        with m.If(begins | (advance & step.any())):
            m.d.sync += step.eq(Mux(step == PREPARATION - 1, 0, step + 1))
        with m.If(advance & (step == PREPARATION - 1)):
            m.d.sync += dividing.eq(1)
        with m.If(taken & self.sums.payload.last):
            m.d.sync += dividing.eq(0)

        # A divisor stays at the normaliser's end until the first sum comes.
        magnitude = Signal(_MAGNITUDE_BITS, reset_less=True)
        with m.If(begins | taken):
            m.d.sync += magnitude.eq(Mux(begins, self.divisors.payload.total, Mux(total[-1], -total, total)))
        leading, places = self._normalise(m, magnitude, advance)
        field = Signal(signed(_FIELD_BITS), reset_less=True)
        with m.If(step == 5):
            m.d.sync += [field.eq(places + top + _FIXED_FIELD), empty.eq(~leading[-1])]
        product = self._multiply(m, leading, flags[3], step, upper, advance)
        lowered = hold(m, advance, "field", (field - places)[:_FIELD_BITS].as_signed())
        half = self._round(m, product, lowered, signs[LATENCY - 1], special, advance)
        m.d.comb += [
            self.quotients.valid.eq(flags[-1]),
            self.quotients.payload.half.eq(half),
            self.quotients.payload.empty.eq(empty),
            self.quotients.payload.error.eq(error),
            self.quotients.payload.last.eq(lasts[-1]),
        ]
        return m

    def _normalise(self, m: Module, value: Value, advance: Value) -> tuple[Value, Value]:
        """The ``_BITS`` + 1 leading bits, and by how many places they have moved up; two cycles.

        Of a level's input only the bits are kept that it and those behind it can bring into the result.
        """
        moves: list[Value] = []
        for level in (*_EARLY_LEVELS, *_LATE_LEVELS):
            if level == _LATE_LEVELS[0]:
                value = hold(m, advance, "window", value)
                moves = [hold(m, advance, "early_moves", Cat(moves))]
            kept = _BITS + (1 << level)
            move = Signal(name=f"move_{level}")
            window = Signal(kept, name=f"window_{level}")
            moved = Cat(Const(0, 1 << level), value)[: len(value)]
            m.d.comb += [
                move.eq(~value[-(1 << level) :].any()),
                window.eq(Mux(move, moved[-kept:], value[-kept:])),
            ]
            value, moves = window, [move, *moves]
        places = Signal(len(_EARLY_LEVELS) + len(_LATE_LEVELS))
        m.d.comb += places.eq(Cat(moves))
        return hold(m, advance, "leading", value), hold(m, advance, "places", places)

    def _multiply(
        self, m: Module, leading: Value, is_sum: Value, step: Value, upper: Value, advance: Value
    ) -> Value:
        """Leading bits times the reciprocal, half of their bits a cycle; before that, the reciprocal."""
        m.submodules.engine = engine = TableEngine([RECIPROCAL])
        first = Signal(_BITS, reset_less=True)
        multiplicand = Signal(_CORRECTION + 1, reset_less=True)
        multiplier = Signal(_BITS)
        dropped = VALUE_BITS - _BITS
        fraction = leading[:_BITS]
        m.d.comb += [
            engine.advance.eq(advance),
            engine.argument.eq(fraction[-ARGUMENT_BITS:]),
            multiplier.eq(Mux(is_sum, leading[1:], first)),
        ]
        half = _BITS // 2
        chosen = Mux(upper, multiplier[half:], multiplier[:half])
        width = len(multiplicand) + half
        rows = [Cat(Const(0, place), Mux(chosen[place], multiplicand, 0)) for place in range(half)]
        left = Signal(width, reset_less=True)
        right = Signal.like(left)
        low = Signal.like(left)
        total = Signal.like(left)
        product = Signal(half + width, reset_less=True)
        # What the rows come to is added up while those of the next half are chosen; while an upper half
        # stalls, the lower one's stay.
        m.d.comb += total.eq(left + right + Mux(upper, 0, low[half:]))
        with m.If(~upper | advance):
            m.d.sync += [
                each.eq(part)
                for each, part in zip((left, right), compress(m, rows, width, name="product"), strict=True)
            ]
        with m.If(upper):
            m.d.sync += low.eq(total)
        with m.Else():
            m.d.sync += product.eq(Cat(low[:half], total))
        width = len(product)
        factor = Signal(width)
        second = Signal(width)
        m.d.comb += [
            factor.eq((2 << 2 * _BITS) + (1 << 2 * _BITS - _CORRECTION - 1) - product),
            second.eq(product + (1 << _CORRECTION - 1)),
        ]
        with m.Switch(step):
            with m.Case(5):
                m.d.sync += [
                    first.eq(engine.value[dropped:] + engine.value[dropped - 1]),
                    multiplicand.eq(leading),
                ]
            with m.Case(7):
                m.d.sync += multiplicand.eq(factor[2 * _BITS - _CORRECTION :])
            with m.Case(9):
                m.d.sync += multiplicand.eq(second[_CORRECTION:])
        return product

    def _round(
        self, m: Module, product: Value, field: Value, negative: Value, special: Value, advance: Value
    ) -> Value:
        """A product of 30 to 32 bits to float16, nearest even, 65504 at most; three cycles.

        Args:
            field: exponent field of the shortest product, less one.
            negative: sign, for the third cycle.
        """
        longest, longer = product[2 * _BITS - 1], product[2 * _BITS - 2]
        aligned = Signal(2 * _BITS)
        lower = Signal(signed(_FIELD_BITS))
        m.d.comb += [
            aligned.eq(Mux(longest, product, Mux(longer, product << 1, product << 2))),
            lower.eq(field + Mux(longest, 2, longer)),
        ]
        kept = hold(m, advance, "kept", aligned[-_PRECISION - 1 :])
        sticky = hold(m, advance, "sticky", aligned[: -_PRECISION - 1].any())
        lower = hold(m, advance, "lower", lower)

        # Below the normal numbers it moves down by -lower places, one more than the complement of lower.
        tiny = lower[-1]
        window: Value = kept[1:]
        below = sticky | kept[0]
        for level in range(4):
            places = 1 << level
            stays = lower[level]
            lost = Signal(name=f"lost_{level}")
            following = Signal(len(kept) - 1, name=f"lowered_{level}")
            m.d.comb += [
                lost.eq(below | (~stays & window[:places].any())),
                following.eq(Mux(stays, window, window[places:])),
            ]
            window, below = following, lost
        far = ~lower[4:].all()
        kept, sticky, lower = (
            hold(m, advance, "moved", Mux(tiny, Mux(far, 0, window), kept)),
            hold(m, advance, "below", Mux(tiny, below, sticky)),
            hold(m, advance, "exponent", Mux(tiny | ~kept[-1], 0, lower[:-1])),
        )

        significand = kept[1:]
        pattern = Signal(HALF_BITS + 2)
        up = kept[0] & (sticky | kept[1])
        m.d.comb += pattern.eq(Cat(Const(0, _PRECISION - 1), lower) + significand + up)
        finite = Mux(pattern >= _INFINITY, _LARGEST, pattern)
        half = Signal(HALF_BITS)
        m.d.comb += half.eq(Mux(special, _NAN, Cat(finite[: HALF_BITS - 1], negative)))
        return hold(m, advance, "half", half)
