"""Block aligner: float16 elements to integers with the largest exponent of their vector.

Meaning: the first rounding of ``golden.systems.vidkv.real_fft``.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.systems.vidkv.real_fft import GUARD_BITS
from hw.kv.fixed_point import MANTISSA_BITS, UNITS, field, mantissa
from hw.kv.payloads import HALF_BITS

__all__ = ["ALIGNED_BITS", "BlockAligner"]

ALIGNED_BITS = MANTISSA_BITS + GUARD_BITS + 1
"""Of an element, sign included."""


class BlockAligner(wiring.Component):
    """Align an element; combinational.

    Members:
        element (in): a finite float16.
        largest (in): the largest exponent field of the vector, 1 to 30.
        aligned (out): the element, signed, in units of 2^(largest - 25 - ``GUARD_BITS``), to nearest.
    """

    element: In(HALF_BITS)
    largest: In(range(UNITS + 1))
    aligned: Out(ALIGNED_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        amount = Signal(range(UNITS))
        wide = Signal(ALIGNED_BITS)  # with a half of a unit below
        m.d.comb += [
            amount.eq(self.largest - field(self.element)),
            wide.eq((mantissa(self.element) << GUARD_BITS + 1) >> amount),
        ]
        # A negative one is complemented; the one that it lacks takes the place of the half.
        negative = self.element[-1].replicate(ALIGNED_BITS)
        inverted = Signal(ALIGNED_BITS)
        m.d.comb += [
            inverted.eq(Cat(wide[1:], 0) ^ negative),
            self.aligned.eq(inverted + (wide[0] ^ self.element[-1])),
        ]
        return m
