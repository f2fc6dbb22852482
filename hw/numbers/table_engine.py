"""Table engine: smooth functions by a straight line in each segment, with one multiplier.

Meaning: ``golden.numbers.tables``. The rows are logic, chosen by function and segment; intercept and partial
products meet in one carry-save tree.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from golden.numbers.tables import Table
from hw.numbers.carry_save import compress

__all__ = ["LATENCY", "TableEngine", "value_bits"]

LATENCY = 2
"""Cycles, with ``advance``, from an argument to its value."""


def value_bits(functions: Sequence[Table]) -> int:
    """Width of what these functions give, in units of 2^-24 (fine ones: 2^-29); no value is negative."""
    return max(
        bits_for((intercept << bits) + max(slope * ((1 << bits) - 1), 0))
        for function in functions
        for bits in (function.shape.place_bits,)
        for intercept, slope in zip(function.intercepts, function.slopes, strict=True)
    )


class TableEngine(wiring.Component):
    """Evaluate one of a few functions a cycle.

    The first register stands behind the rows, the second behind the product.

    Args:
        functions: those that can be asked for, one or more, of one shape.

    Members:
        advance (in): the whole pipeline moves; while low, ``value`` stays.
        chosen (in): place of the wanted one in ``functions``; no bits where there is but one.
        argument (in): fraction in units of 2^-12 (fine ones: 2^-18).
        value (out): in units of 2^-24 (fine ones: 2^-29).
    """

    def __init__(self, functions: Sequence[Table]) -> None:
        self.functions = tuple(functions)
        (self.shape,) = {function.shape for function in functions}
        super().__init__(
            {
                "advance": In(1),
                "chosen": In(range(len(self.functions))),
                "argument": In(self.shape.argument_bits),
                "value": Out(value_bits(self.functions)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place_bits = self.shape.place_bits
        slopes = [slope for function in self.functions for slope in function.slopes]
        shape = Shape.cast(range(min(0, *slopes), max(slopes) + 1))
        # A row of a signed product has its sign bit inverted instead of extended (Baugh and Wooley, 1973);
        # what mends them all is a multiple of an intercept's unit and part of the intercepts.
        mended = ((1 << place_bits) - 1 << shape.width - 1 >> place_bits) * shape.signed
        intercept = Signal(len(self.value) - place_bits, reset_less=True)
        slope = Signal(shape.width, reset_less=True)
        place = Signal(place_bits, reset_less=True)
        with m.If(self.advance):
            m.d.sync += place.eq(self.argument[:place_bits])
            with m.Switch(Cat(self.argument[place_bits:], self.chosen)):
                for number, function in enumerate(self.functions):
                    for segment, row in enumerate(zip(function.intercepts, function.slopes, strict=True)):
                        with m.Case(number << self.shape.segment_bits | segment):
                            m.d.sync += [
                                intercept.eq((row[0] - mended) % (1 << len(intercept))),
                                slope.eq(row[1] % (1 << shape.width)),
                            ]

        rows: list[Value] = []
        for number in range(place_bits):
            row = Signal(shape.width, name=f"row_{number}")
            m.d.comb += row.eq(Mux(place[number], slope, 0) ^ shape.signed << shape.width - 1)
            rows.append(Cat(Const(0, number), row))
        rows.append(Cat(Const(0, place_bits), intercept))
        left, right = compress(m, rows, len(self.value))
        value = Signal(len(self.value), name="held_value", reset_less=True)
        with m.If(self.advance):
            m.d.sync += value.eq(left + right)
        m.d.comb += self.value.eq(value)
        return m
