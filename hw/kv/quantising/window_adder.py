"""Window adder: the magnitude of a float16 in the window of a scale, plus or minus, and an offset there.

Code lanes take their element less the minimum with it; the first one also serves the group scales, which are
worked out before a page's codes are.
"""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.kv.fixed_point import UNITS, WINDOW_BITS, window
from hw.kv.payloads import HALF_BITS

__all__ = ["WindowAdder", "addend"]

addend = data.StructLayout(
    {
        "magnitude": HALF_BITS - 1,
        "reference": Shape.cast(range(-UNITS, UNITS + 1)),
        "negative": 1,
        "number": WINDOW_BITS,
        "is_number": 1,
    }
)
"""A float16's magnitude for the window of ``reference`` (``hw.kv.fixed_point``), or a number as it is."""


class WindowAdder(wiring.Component):
    """Place in one cycle, add in the next.

    Members:
        addend (in): what is placed.
        look (in): take it.
        count (in): add what was taken last; otherwise nothing.
        offset (in): what it is added to.
        sum (out): the sum, with the bit that goes beyond the window.
    """

    config = None

    addend: In(addend)
    look: In(1)
    count: In(1)
    offset: In(WINDOW_BITS)
    sum: Out(WINDOW_BITS + 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        taken = self.addend
        placed = Signal(WINDOW_BITS)
        value = Signal(WINDOW_BITS, reset_less=True)
        carry = Signal(reset_less=True)
        magnitude = window(m, taken.magnitude, taken.reference, "placed")
        m.d.comb += placed.eq(Mux(taken.is_number, taken.number, magnitude))
        with m.If(self.look):
            m.d.sync += [value.eq(placed ^ taken.negative.replicate(WINDOW_BITS)), carry.eq(taken.negative)]
        m.d.comb += self.sum.eq((value & self.count.replicate(WINDOW_BITS)) + self.offset + carry)
        return m
