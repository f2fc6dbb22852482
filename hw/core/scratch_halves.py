"""Vectors in scratch memory as float16 elements."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.core.commands import UNIT
from hw.config import Config
from hw.core.halves import SINGLE_BITS, rounded, unrounded, unrounded_half
from hw.core.payloads import scratch_read
from hw.kv.payloads import HALF_BITS

__all__ = ["ScratchHalves", "fits", "half_beat", "scratch_units"]


def scratch_units(config: Config) -> int:
    """Width of a place in scratch memory in units of 16 elements, its end included."""
    return bits_for(config.core.scratch // UNIT)


def fits(config: Config, place: Value, units: Value) -> Value:
    """Whether scratch memory has so many times 16 elements from a place on, itself in times of 16."""
    return place + units <= config.core.scratch // UNIT


def half_beat(lanes: int) -> data.StructLayout:
    """Consecutive float16 elements; ``last`` closes a vector, ``ends`` with ``last`` the last one."""
    return data.StructLayout({"elements": data.ArrayLayout(HALF_BITS, lanes), "last": 1, "ends": 1})


class ScratchHalves(wiring.Component):
    """Read vectors that lie one behind the other, and round them to float16.

    An element a cycle, every second cycle where words have one element; a cycle more for each word.

    Args:
        config: of the core.
        lanes: elements of a beat, a power of two up to 16.

    Members:
        start (in): one cycle, when everything has left; with it the others.
        first (in): place of the first element, in units of 16.
        channels, vectors (in): elements of a vector in units of 16, at least one; vectors less one.
        scratch: the port.
        beats (out stream): the elements.
    """

    def __init__(self, config: Config, lanes: int) -> None:
        self.config = config
        self.lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "first": In(scratch_units(config)),
                "channels": In(bits_for(config.kv.channels // UNIT)),
                "vectors": In(range(config.kv.queries)),
                "scratch": Out(scratch_read(config)),
                "beats": Out(stream.Signature(half_beat(lanes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, unit_words = self.config.core.lanes, UNIT // self.config.core.lanes
        channels = Signal.like(self.channels, name="held_channels")
        vectors = Signal.like(self.vectors, name="left_vectors")
        reading = Signal()  # words are yet to be looked up
        word = Signal(len(self.scratch.address) + 1)
        inner = Signal(range(unit_words * (self.config.kv.channels // UNIT)))  # word of a vector
        coming = Signal()
        held = Signal(SINGLE_BITS * width)
        left = Signal(range(width + 1))
        room = Signal()
        takes = Signal()
        fetch = Signal()
        last_word = Signal()
        m.d.comb += [
            takes.eq((left != 0) & room),
            fetch.eq(reading & ~coming & ((left == 0) | ((left == 1) & takes))),
            self.scratch.address.eq(word),
            self.scratch.enable.eq(fetch),
            last_word.eq(inner == (channels << exact_log2(unit_words)) - 1),
        ]
        ends = Signal(2)  # of a vector, of all
        m.d.sync += coming.eq(fetch)
        with m.If(self.start):
            m.d.sync += [
                word.eq(self.first << exact_log2(unit_words)),
                inner.eq(0),
                channels.eq(self.channels),
                vectors.eq(self.vectors),
                reading.eq(1),
            ]
        with m.Elif(fetch):
            m.d.sync += [word.eq(word + 1), inner.eq(inner + 1), ends.eq(Cat(last_word, vectors == 0))]
            with m.If(last_word):
                m.d.sync += [inner.eq(0), vectors.eq(vectors - 1), reading.eq(vectors != 0)]
        with m.If(takes):
            m.d.sync += [held.eq(held >> SINGLE_BITS), left.eq(left - 1)]
        held_ends = Signal(2)
        with m.If(coming):
            m.d.sync += [held.eq(Value.cast(self.scratch.data)), left.eq(width), held_ends.eq(ends)]
        self._round(m, held[:SINGLE_BITS], takes, room, Mux(left == 1, held_ends, 0))
        return m

    def _round(self, m: Module, element: Value, takes: Value, room: Signal, ends: Value) -> None:
        """Elements through two registers into beats."""
        number = unrounded(m, element, "element")
        waiting = Signal(unrounded_half)
        waiting_ends = Signal(2)
        waits = Signal()
        passes = Signal()
        count = Signal(range(self.lanes + 1))
        beat = self.beats.payload
        elements = Value.cast(beat.elements)
        before = Mux(self.beats.valid, 0, count)
        m.d.comb += [
            room.eq(~waits | passes),
            passes.eq(waits & (~self.beats.valid | self.beats.ready)),
        ]
        with m.If(room):
            m.d.sync += [waits.eq(takes), waiting.eq(number), waiting_ends.eq(ends)]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [self.beats.valid.eq(0), count.eq(0)]
        with m.If(passes):
            m.d.sync += [
                elements.eq(Cat(elements, rounded(waiting))[HALF_BITS:]),
                count.eq(before + 1),
                self.beats.valid.eq(before == self.lanes - 1),
                beat.last.eq(waiting_ends[0]),
                beat.ends.eq(waiting_ends.all()),
            ]
