"""Folding lane: one element of a query or of the weights, times its step and its offset.

The product with the step is rounded to tf32. The product with the offset, and that with the step once more
times a power of two, go to the grid of an offset term: rounded to nearest, ties up, each by itself. A
product is kept as a magnitude; a negative one is inverted at last, and its missing unit joins the increment
of rounding as a bit of its own.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import TERM_FRACTION, TERM_INTEGER
from hw.attention.payloads import tf32
from hw.config import Config
from hw.kv.fixed_point import MANTISSA_BITS, field, mantissa
from hw.kv.payloads import HALF_BITS
from hw.numbers.carry_save import compress
from hw.numbers.one_hot import choose
from hw.numbers.pipeline import hold
from hw.sharing import share

__all__ = ["LATENCY", "PLACE_BITS", "ROW_BITS", "FoldingLane"]

LATENCY = 3
"""Cycles, with ``advance``, from an element to ``folded``; to ``rows`` and ``units`` one less."""

PLACE_BITS = 7
"""Of exponents modulo a power of two: there are fewer than 96 different ones."""

_PRODUCT_BITS = 2 * MANTISSA_BITS
_EARLY_BITS = 8
_MOST_BITS = TERM_INTEGER + TERM_FRACTION
"""Of keys' products; beyond it they saturate."""
_GRID_BITS = _MOST_BITS + 1
"""Of values' products, whose steps and offsets ``top`` bounds."""
ROW_BITS = _GRID_BITS + 1
"""With an inverted sign in place of all sign bits: ``2**_GRID_BITS`` more than the product."""

_FINE_LEVELS = 3
_STEP = 1 << _FINE_LEVELS
_COARSE = 6
"""Steps that a place can have up to that of the largest product; keys' have more, and saturate."""


class FoldingLane(wiring.Component):
    """Multiply, round and place an element, in three cycles; everything moves with ``advance`` only.

    The inputs should come straight from registers.

    Members:
        advance (in): every stage takes what is before it.
        operand, step, offset (in): an element of ``payloads.folding_beat``.
        step_base, offset_base (in): what the sum of both exponent fields lacks to the place of a product
            with the step, with the offset: a product of place p is worth ``2**(p - 23)`` of the grid.
        centred (in): there is a product with the step.
        saturates (in): products saturate below ``2**42``; an ``advance`` after the other inputs.
        folded (out): operand times step; a register.
        rows (out): both products on the grid, their signs inverted, less than they are by ``units``.
        units (out): one for each row.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "advance": In(1),
                "operand": In(tf32),
                "step": In(HALF_BITS),
                "offset": In(HALF_BITS),
                "step_base": In(PLACE_BITS),
                "offset_base": In(PLACE_BITS),
                "centred": In(1),
                "saturates": In(1),
                "folded": Out(tf32),
                "rows": Out(data.ArrayLayout(ROW_BITS, 2)),
                "units": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = Signal(PLACE_BITS)
        step_place = Signal(PLACE_BITS)
        offset_place = Signal(PLACE_BITS)
        m.d.comb += [
            fields.eq(self.operand.exponent + field(self.step)),
            step_place.eq(fields + self.step_base),
            offset_place.eq(self.operand.exponent + field(self.offset) + self.offset_base),
        ]
        terms = []
        for number, (name, factor, place, present) in enumerate(
            (
                ("step", self.step, step_place, self.centred),
                ("offset", self.offset, offset_place, Const(1, 1)),
            )
        ):
            term = share(m, f"{name}_term", TermLane(self.config))
            m.d.comb += [
                term.advance.eq(self.advance),
                term.significand.eq(Cat(self.operand.fraction, self.operand.exponent.any())),
                term.mantissa.eq(mantissa(factor)),
                term.negative.eq(self.operand.negative ^ factor[-1]),
                term.place.eq(place),
                term.present.eq(present),
                term.saturates.eq(self.saturates),
                self.rows[number].eq(term.row),
                self.units[number].eq(term.unit),
            ]
            terms.append(term)

        # A subnormal step's leading zeros move the product up; a normal one has none.
        zeros = Signal(range(MANTISSA_BITS))
        with m.If(~self.step[10:15].any()):
            for place in range(10):
                with m.If(self.step[place]):
                    m.d.comb += zeros.eq(10 - place)
        held = [hold(m, self.advance, name, value) for name, value in (("zeros", zeros), ("fields", fields))]
        folded = self._rounded(m, terms[0].product, *held)
        with m.If(self.advance):
            m.d.sync += self.folded.eq(Cat(folded, terms[0].negative_row))
        return m

    def _rounded(self, m: Module, product: Value, zeros: Value, fields: Value) -> Value:
        """Fraction and exponent field of a product; ``fields`` is the sum of its factors'."""
        normal = product
        for level in reversed(range(len(zeros))):
            moved = Signal(_PRODUCT_BITS, name=f"normal_{level}")
            m.d.comb += moved.eq(Mux(zeros[level], normal << (1 << level), normal))
            normal = moved
        kept = MANTISSA_BITS - 2
        below = hold(m, self.advance, "below", normal[:kept].any())
        normal = hold(m, self.advance, "normal", normal[kept:])
        lowest = hold(m, self.advance, "lowest", (fields - 15 - zeros)[:PLACE_BITS])

        top = normal[-1]
        fraction = Mux(top, normal[2:-1], normal[1:-2])
        guard = Mux(top, normal[1], normal[0])
        sticky = below | (top & normal[0])
        rounded = Signal(PLACE_BITS + MANTISSA_BITS - 1)
        m.d.comb += rounded.eq(Cat(fraction, (lowest + top)[:PLACE_BITS]) + (guard & (sticky | fraction[0])))
        # Fields are 71 to 159: bit 7 is the opposite of bit 6. Zero has the field 0.
        present = normal[-2:].any()
        fields = Cat(rounded[MANTISSA_BITS - 1 :], ~rounded[-1])
        return Cat(rounded[: MANTISSA_BITS - 1], Mux(present, fields, 0))


class TermLane(wiring.Component):
    """One product on the grid of an offset term, in three cycles, of which the last has no register.

    Members:
        advance (in): every stage takes what is before it.
        significand, mantissa (in): the factors.
        negative (in): the product is.
        place (in): the product is worth ``2**(place - 23)`` of the grid.
        present (in): it counts.
        saturates (in): it saturates below ``2**42``; an ``advance`` after the other inputs.
        product (out): the magnitude, of the second cycle, whether it counts or not.
        row, unit (out): as ``FoldingLane`` has them.
        negative_row (out): the row's sign.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "advance": In(1),
                "significand": In(MANTISSA_BITS),
                "mantissa": In(MANTISSA_BITS),
                "negative": In(1),
                "place": In(PLACE_BITS),
                "present": In(1),
                "saturates": In(1),
                "product": Out(_PRODUCT_BITS),
                "row": Out(ROW_BITS),
                "unit": Out(1),
                "negative_row": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # First cycle: two rows of the product, their low bits added, which come early.
        partial = [
            Cat(Const(0, number), Mux(bit, self.significand, 0)) for number, bit in enumerate(self.mantissa)
        ]
        rows = compress(m, partial, _PRODUCT_BITS, name="tree")
        early = Signal(_EARLY_BITS + 1, name="early")
        m.d.comb += early.eq(rows[0][:_EARLY_BITS] + rows[1][:_EARLY_BITS])
        early = hold(m, self.advance, "early", early)
        left, right = (
            hold(m, self.advance, f"row_{side}", row[_EARLY_BITS:]) for side, row in enumerate(rows)
        )
        negative = hold(m, self.advance, "negative", self.negative)
        amount = hold(m, self.advance, "amount", self.place[:-1])
        inside = hold(m, self.advance, "inside", self.present & ~self.place[-1])

        # Second: the product, moved within a step.
        product = Signal(_PRODUCT_BITS, name="whole")
        m.d.comb += product.eq(Cat(early[:-1], (left + right + early[-1])[: len(left)]))
        fine: Value = product
        for level in range(_FINE_LEVELS):
            moved = Signal(len(fine) + (1 << level), name=f"fine_{level}")
            m.d.comb += moved.eq(Mux(amount[level], fine << (1 << level), fine))
            fine = moved
        coarse = amount[_FINE_LEVELS:]
        lost = [_PRODUCT_BITS - _STEP * count for count in range(_COARSE)]
        lines = [inside & (coarse == count) for count in range(_COARSE)]
        below = [line & fine[: max(bits, 0)].any() for line, bits in zip(lines, lost, strict=True)]
        # Keys' products of 2^42 and more: at place 45, or at 44 if they have all bits.
        large = coarse[1:].all() | (lines[-1] & amount[2] & (amount[:2].any() | product[-1]))
        saturates = Signal(name="saturated")
        m.d.comb += saturates.eq(self.saturates & inside & large & product[-2:].any())
        lines[-1] = lines[-1] & ~saturates
        fine = hold(m, self.advance, "fine", fine)
        lines = hold(m, self.advance, "lines", Cat(lines))
        sticky = hold(m, self.advance, "sticky", Cat(below).any() | ~negative)
        inverted = hold(m, self.advance, "inverted", negative ^ saturates)
        negative = hold(m, self.advance, "still_negative", negative)

        # Third: the product on the grid; bit 0 of the window is the half of a unit.
        window = Signal(_GRID_BITS + 1, name="window")
        for bit in range(len(window)):
            sources = [(line, bit + bits) for line, bits in zip(lines, lost, strict=True)]
            chosen = [(line, fine[source]) for line, source in sources if 0 <= source < len(fine)]
            m.d.comb += window[bit].eq(choose(*zip(*chosen, strict=True)))
        low = window[1 : _MOST_BITS + 1] ^ inverted.replicate(_MOST_BITS)
        m.d.comb += [
            self.row.eq(Cat(low, window[-1] ^ negative, ~negative)),
            self.unit.eq((window[0] & sticky) ^ negative),
        ]
        m.d.comb += [self.product.eq(product), self.negative_row.eq(negative)]
        return m
