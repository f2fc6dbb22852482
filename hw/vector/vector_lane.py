"""One lane of the vector unit: a float32 multiplier, an adder behind it, and what goes into both."""

from amaranth.hdl import Array, Cat, Module, Mux
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from hw.numbers.pipeline import hold
from hw.vector import float_adder, float_multiplier
from hw.vector.float_adder import FloatAdder
from hw.vector.float_multiplier import FloatMultiplier

__all__ = ["ADDING", "EARLIER", "RESULT", "VectorLane", "X", "Y", "Z"]

ADDING = float_multiplier.LATENCY
"""Cycles from a product's factors to its sum's terms."""
RESULT = ADDING + float_adder.LATENCY
"""Cycles from factors to the result."""
EARLIER = 2
"""Cycles that ``Z.EARLIER`` is behind the product."""


class X(enum.Enum, shape=2):
    """First factor."""

    DATA = 0
    PREVIOUS = 1
    KEPT = 2
    FACTOR = 3


class Y(enum.Enum, shape=2):
    """Second factor."""

    DATA = 0
    PREVIOUS = 1
    SCALAR = 2
    FACTOR = 3


class Z(enum.Enum, shape=2):
    """What is added to the product."""

    SCALAR = 0
    PREVIOUS = 1
    EARLIER = 2
    RESULT = 3


class VectorLane(wiring.Component):
    """result = x * y + z, both rounded, an operation a cycle; never halts.

    Members:
        data (in): a word's element.
        kept (in): a number that is kept for the lane.
        factor_x, factor_y (in): factors of a sigmoid.
        scalar_y, scalar_z (in): numbers for all lanes.
        take_result (in): ``PREVIOUS`` is the result, not the data, of the cycle before.
        x, y (in): what is multiplied.
        z, negative (in): what is added ``ADDING`` cycles later, and whether the product is subtracted.
        result (out): bits, ``RESULT`` cycles later.
    """

    data: In(32)
    kept: In(32)
    factor_x: In(32)
    factor_y: In(32)
    scalar_y: In(32)
    scalar_z: In(32)
    take_result: In(1)
    x: In(X)
    y: In(Y)
    z: In(Z)
    negative: In(1)
    result: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = FloatMultiplier()
        m.submodules.adder = adder = FloatAdder()
        previous = hold(m, None, "previous", Mux(self.take_result, adder.sum, self.data))
        product = multiplier.product
        earlier = product
        for cycle in range(EARLIER):
            earlier = hold(m, None, f"earlier_{cycle}", earlier)
        m.d.comb += [
            multiplier.a.eq(Array([self.data, previous, self.kept, self.factor_x])[self.x.as_value()]),
            multiplier.b.eq(Array([self.data, previous, self.scalar_y, self.factor_y])[self.y.as_value()]),
            adder.a.eq(Cat(product[:-1], product[-1] ^ self.negative)),
            adder.b.eq(Array([self.scalar_z, previous, earlier, adder.sum])[self.z.as_value()]),
            self.result.eq(adder.sum),
        ]
        return m
