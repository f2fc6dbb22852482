"""Exponents of products of FP16 numbers, their largest, and how far each lies below it."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["EXPONENT", "ProductExponents"]

FIELD = 5
EXPONENT = FIELD + 1
"""Bits of the sum of two exponent fields; a subnormal counts as field 1."""


class ProductExponents(wiring.Component):
    """Exponents of all lanes; combinational.

    The largest one is searched from the top, two bits of all lanes at a time: which of 1, 2 and 3 does some
    lane reach that was not below the others so far? A tree of comparisons takes as long and, at 1 ns in a
    45 nm library, a third more area.

    Args:
        lanes: products.
        distance: bits of a distance.

    Members:
        a, b: exponent fields of the factors.
        a_normal, b_normal: which of them are not subnormal.
        distances: by how much each exponent is below the largest; all ones where that does not fit.
        largest: largest exponent.
        special: some factor is infinite or NaN.
    """

    def __init__(self, lanes: int, distance: int) -> None:
        self.lanes, self.distance = lanes, distance
        fields = data.ArrayLayout(FIELD, lanes)
        super().__init__(
            {
                "a": In(fields),
                "b": In(fields),
                "a_normal": Out(lanes),
                "b_normal": Out(lanes),
                "distances": Out(data.ArrayLayout(distance, lanes)),
                "largest": Out(EXPONENT),
                "special": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        exponents, specials = [], []
        for lane in range(self.lanes):
            fields = []
            for field, normal in (self.a[lane], self.a_normal[lane]), (self.b[lane], self.b_normal[lane]):
                m.d.comb += normal.eq(field.any())
                fields.append(Cat(field[0] | ~field.any(), field[1:]))
                specials.append(field.all())
            exponents.append(Signal(EXPONENT, name=f"exponent_{lane}"))
            m.d.comb += exponents[-1].eq(fields[0] + fields[1])
        m.d.comb += [
            self.largest.eq(_largest(m, exponents)),
            self.special.eq(Cat(specials).any()),
        ]
        for lane, exponent in enumerate(exponents):
            below = Signal(EXPONENT, name=f"below_{lane}")
            far = below[self.distance :].any()
            m.d.comb += [
                below.eq(self.largest - exponent),
                self.distances[lane].eq(below[: self.distance] | far.replicate(self.distance)),
            ]
        return m


def _largest(m: Module, values: Sequence[Signal]) -> Value:
    """The largest of numbers of an even number of bits."""
    found: list[Value] = []
    candidates: list[Value] = [Const(1, 1)] * len(values)
    for place in reversed(range(0, len(values[0]), 2)):
        digits = [
            (value[place : place + 2].any(), value[place + 1], value[place : place + 2].all())
            for value in values
        ]
        reached = []
        for level in range(3):
            reached.append(Signal(name=f"reached_{place}_{level + 1}"))
            here = Cat(one & digit[level] for one, digit in zip(candidates, digits, strict=True))
            m.d.comb += reached[-1].eq(here.any())
        found = [(reached[0] & ~reached[1]) | reached[2], reached[1], *found]
        left: list[Value] = []
        for lane, (one, digit) in enumerate(zip(candidates, digits, strict=True)):
            left.append(Signal(name=f"candidate_{place}_{lane}"))
            keeps = [mine | ~best for mine, best in zip(digit, reached, strict=True)]
            m.d.comb += left[-1].eq(one & keeps[0] & keeps[1] & keeps[2])
        candidates = left
    return Cat(found)
