"""Largest field: the largest exponent field of a head's steps and offsets (``Format.largest_field``)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.kv.fixed_point import field
from hw.kv.payloads import HALF_BITS, TOP_BITS

__all__ = ["LargestField"]


class LargestField(wiring.Component):
    """Look at one number of a page's metadata after the other.

    Members:
        load, before (in): begin with what was the largest one before.
        take, number (in): a finite float16 to look at.
        doubled (in): the step is twice the number, as that of signs is.
        largest (out): from the next cycle on.
    """

    config = None

    load: In(1)
    before: In(TOP_BITS)
    take: In(1)
    number: In(HALF_BITS)
    doubled: In(1)
    largest: Out(TOP_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        own = Signal(TOP_BITS)
        is_normal = self.number[10:15].any()
        m.d.comb += own.eq(field(self.number) + (self.doubled & is_normal))
        with m.If(self.load):
            m.d.sync += self.largest.eq(self.before)
        with m.Elif(self.take):
            m.d.sync += self.largest.eq(Mux(own > self.largest, own, self.largest))
        return m
