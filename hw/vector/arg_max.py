"""Arg-max of a stream of float32 numbers.

Meaning: ``golden.vector.arg_max``. Numbers become integers of the same order: complemented where negative,
with an inverted sign where not; NaN becomes 0 and subnormals the zero that both signs share.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.numbers.pipeline import hold

__all__ = ["INDEX_BITS", "ArgMax", "largest", "numbers"]

INDEX_BITS = 32
"""Of a place in the longest list, if nothing else is said."""

_FRACTION = 23


def numbers(lanes: int) -> data.StructLayout:
    """A beat of numbers: the first ``count`` ones; ``last`` closes a list."""
    return data.StructLayout({"data": data.ArrayLayout(32, lanes), "count": bits_for(lanes), "last": 1})


def largest(index_bits: int = INDEX_BITS) -> data.StructLayout:
    """Place of a list's largest number, and its bits; 0 and NaN where there is no number."""
    return data.StructLayout({"index": index_bits, "value": 32})


class ArgMax(wiring.Component):
    """Find the largest number of each list, the first of equal ones; a beat a cycle.

    The result comes 3 cycles after the last beat; no beat is taken from then on until it is taken.

    Args:
        lanes: numbers of a beat, a power of two.
        index_bits: width of a place.

    Members:
        numbers (in stream): lists of numbers.
        largest (out stream): one for each.
    """

    def __init__(self, lanes: int, index_bits: int = INDEX_BITS) -> None:
        self.lanes, self.index_bits = lanes, index_bits
        super().__init__(
            {
                "numbers": In(stream.Signature(numbers(lanes))),
                "largest": Out(stream.Signature(largest(index_bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = self.numbers.payload
        closing = Signal()
        taken = Signal()
        m.d.comb += [self.numbers.ready.eq(~closing), taken.eq(self.numbers.valid & ~closing)]
        with m.If(taken & beat.last):
            m.d.sync += closing.eq(1)
        with m.If(self.largest.valid & self.largest.ready):
            m.d.sync += closing.eq(0)

        live, last = (
            hold(m, None, "live", taken, reset=True),
            hold(m, None, "last", taken & beat.last, reset=True),
        )
        keys = [
            hold(m, taken, f"key_{lane}", Mux(lane < beat.count, self._key(m, beat.data[lane], lane), 0))
            for lane in range(self.lanes)
        ]
        count = hold(m, taken, "count", beat.count)
        places: list[tuple[Value, Value]] = [(key, Cat()) for key in keys]
        while len(places) > 1:
            places = [
                self._larger(m, f"{len(places)}_{pair}", places[2 * pair], places[2 * pair + 1])
                for pair in range(len(places) // 2)
            ]
        winner, place = places[0]
        begin = Signal(self.index_bits)
        best = Signal(32)
        index = Signal(self.index_bits)
        live_2, last_2 = hold(m, None, "live_2", live, reset=True), hold(m, None, "last_2", last, reset=True)
        later = Signal(self.index_bits)
        m.d.comb += later.eq(begin + place)
        winner, place = hold(m, None, "winner", winner), hold(m, None, "place", later)
        ends = self.largest.valid & self.largest.ready
        with m.If(ends):
            m.d.sync += [begin.eq(0), best.eq(0), index.eq(0)]
        with m.Else():
            with m.If(live):
                m.d.sync += begin.eq(begin + count)
            with m.If(live_2 & (winner > best)):
                m.d.sync += [best.eq(winner), index.eq(place)]
        found = Signal()
        with m.If(last_2):
            m.d.sync += found.eq(1)
        with m.If(ends):
            m.d.sync += found.eq(0)
        value = Mux(best[-1], Cat(best[:-1], ~best[-1]), ~best)
        m.d.comb += [
            self.largest.valid.eq(found),
            self.largest.payload.index.eq(index),
            self.largest.payload.value.eq(Mux(best.any(), value, 0x7FC00000)),
        ]
        return m

    def _key(self, m: Module, bits: Value, lane: int) -> Value:
        magnitude = bits[:-1]
        field = bits[_FRACTION:-1]
        nan = field.all() & bits[:_FRACTION].any()
        key = Signal(32, name=f"order_{lane}")
        with m.If(nan):
            m.d.comb += key.eq(0)
        with m.Elif(~field.any()):
            m.d.comb += key.eq(1 << 31)
        with m.Else():
            m.d.comb += key.eq(Cat(magnitude ^ bits[-1].replicate(31), ~bits[-1]))
        return key

    def _larger(
        self, m: Module, name: str, left: tuple[Value, Value], right: tuple[Value, Value]
    ) -> tuple[Value, Value]:
        """The larger key and its place, the left one of equal ones."""
        choose = Signal(name=f"right_{name}")
        m.d.comb += choose.eq(right[0] > left[0])
        return Mux(choose, right[0], left[0]), Cat(Mux(choose, right[1], left[1]), choose)
