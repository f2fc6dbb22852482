"""Column rounder: an integer with an exponent to a float16, to nearest even, at most 65504.

Meaning: the fourth rounding of ``golden.systems.vidkv.real_fft``. One left shift serves normal and subnormal
numbers: it stops where the exponent field would fall below 1.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.kv.fixed_point import LARGEST_MAGNITUDE, MANTISSA_BITS
from hw.kv.payloads import HALF_BITS
from hw.numbers.pipeline import hold
from hw.systems.fourier.butterfly import PART_BITS

__all__ = ["LATENCY", "ROOM_BITS", "ColumnRounder"]

LATENCY = 3
ROOM_BITS = 6
_BITS = PART_BITS - 1
_DROPPED = _BITS - MANTISSA_BITS


class ColumnRounder(wiring.Component):
    """Round a number a cycle.

    Members:
        advance (in): the pipeline moves.
        number (in): signed, of a magnitude below 2^23.
        opposite (in): its opposite is wanted.
        room (in): the exponent field that a number of 2^22 and more has, less 1: 0 to 63.
        half (out): ``LATENCY`` cycles later; a zero has no sign, what rounds to it keeps its own.
        overflow (out): with it: its magnitude was larger than 65504.
    """

    advance: In(1)
    number: In(PART_BITS)
    opposite: In(1)
    room: In(ROOM_BITS)
    half: Out(HALF_BITS)
    overflow: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign = self.number[-1]
        size = Signal(_BITS)
        m.d.comb += size.eq((self.number[:-1] ^ sign.replicate(_BITS)) + sign)
        size = hold(m, self.advance, "size", size)
        negative = hold(m, self.advance, "negative", sign ^ self.opposite)
        room = hold(m, self.advance, "room", self.room)

        zeros = Signal(ROOM_BITS)
        m.d.comb += zeros.eq(-1)  # a zero takes the smallest field
        for place in range(_BITS):
            with m.If(size[place]):
                m.d.comb += zeros.eq(_BITS - 1 - place)
        amount = Signal(ROOM_BITS)
        m.d.comb += amount.eq(Mux(room < zeros, room, zeros))
        amount = hold(m, self.advance, "amount", amount)
        room = hold(m, self.advance, "later_room", room)
        negative = hold(m, self.advance, "later_negative", negative & size.any())
        size = hold(m, self.advance, "later_size", size)

        shifted = Signal(_BITS)
        field = Signal(ROOM_BITS)
        m.d.comb += [shifted.eq(size << amount[: bits_for(_BITS - 1)]), field.eq(room - amount)]
        kept, guard = shifted[_DROPPED:], shifted[_DROPPED - 1]
        up = guard & (kept[0] | shifted[: _DROPPED - 1].any())
        # A leading one adds to the field, rounding may do so too.
        rounded = Signal(ROOM_BITS + MANTISSA_BITS)
        beyond = Signal()
        m.d.comb += [
            rounded.eq(Cat(Const(0, MANTISSA_BITS - 1), field) + kept + up),
            beyond.eq(rounded > LARGEST_MAGNITUDE),
        ]
        magnitude = Mux(beyond, LARGEST_MAGNITUDE, rounded[: HALF_BITS - 1])
        m.d.comb += [
            self.half.eq(hold(m, self.advance, "half", Cat(magnitude[: HALF_BITS - 1], negative))),
            self.overflow.eq(hold(m, self.advance, "beyond", beyond)),
        ]
        return m
