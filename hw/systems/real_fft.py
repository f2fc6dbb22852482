"""Real FFT: the columns of VidKV's keys and queries, in fixed point.

Meaning: ``golden.systems.vidkv.real_fft``. Vectors lie in one of two memories while their columns are worked
out in place, by one butterfly of radix 2; meanwhile the columns before leave the other one and the next
elements come to it.
"""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.systems.vidkv.real_fft import LENGTHS
from hw.config import Config
from hw.kv.fixed_point import LARGEST_MAGNITUDE, UNITS, field
from hw.numbers.pipeline import hold
from hw.systems.fourier import butterflies, column_rounder
from hw.systems.fourier.butterflies import Butterflies
from hw.systems.fourier.butterfly import PART_BITS, complex_word
from hw.systems.fourier.butterfly_walk import STAGES, WORDS, ButterflyWalk
from hw.systems.fourier.column_rounder import ColumnRounder
from hw.systems.payloads import (
    TransformLength,
    TransformSide,
    channel_element,
    transform_column,
    transform_request,
)

__all__ = ["RealFft", "cycles"]

_BANKS = 2
_LONGEST = LENGTHS[-1]

vector_state = data.StructLayout({"request": transform_request, "largest": range(UNITS + 1)})
"""What is known of a vector: what is wanted, and its largest exponent field."""


class _Bank(NamedTuple):
    """Ports of the memories of a vector: real parts, imaginary parts."""

    writes: list[memory.WritePort]
    reads: list[memory.ReadPort]


def _word(banks: list[_Bank], number: Value) -> Value:
    """What was read from one of the memories."""
    words = [Cat(read.data for read in bank.reads) for bank in banks]
    return Mux(number, words[1], words[0])


def _is_long(state: data.View) -> Value:
    return state.request.length == TransformLength.CHANNELS64


def cycles(length: int) -> int:
    """Cycles from vector to vector of one length, where elements come and columns leave at once.

    Args:
        length: 32 or 64.
    """
    words = length // 2
    return words * (words.bit_length() - 1) + words + 2 + butterflies.LATENCY + 1


class RealFft(wiring.Component):
    """Transform vector after vector, of 32 or 64 elements each.

    A vector takes ``cycles``, 89 or 201; elements come and columns leave one a cycle, two vectors are inside
    at a time. Elements that are not finite count as the largest finite ones of their sign.

    Members:
        requests (in stream): length and side of every vector, ahead of its elements.
        elements (in stream): its elements in order, ``last`` with the last one.
        columns (out stream): as many columns.
        clamped (out): one cycle for an infinity or a NaN.
        overflow (out): one cycle for a column of more than 65504, which becomes that; only of queries.
        error_short, error_long (out): one cycle for a vector with fewer or more elements than its request
            says; it is left out.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "requests": In(stream.Signature(transform_request)),
                "elements": In(stream.Signature(channel_element)),
                "columns": Out(stream.Signature(transform_column)),
                **dict.fromkeys(("clamped", "overflow", "error_short", "error_long"), Out(1)),
            }
        )
        self.states = Signal(data.ArrayLayout(vector_state, _BANKS), reset_less=True)
        self.full = Signal(_BANKS)
        self.done = Signal(_BANKS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks = [self._bank(m, number) for number in range(_BANKS)]
        self._load(m, banks)
        self._transform(m, banks)
        self._leave(m, banks)
        return m

    def _bank(self, m: Module, number: int) -> _Bank:
        """A memory of real parts and one of imaginary parts."""
        writes, reads = [], []
        for part in ("real", "imaginary"):
            m.submodules[f"{part}_parts_{number}"] = parts = memory.Memory(
                shape=PART_BITS, depth=WORDS, init=[]
            )
            write = parts.write_port()
            read = parts.read_port()
            writes.append(write)
            reads.append(read)
        return _Bank(writes, reads)

    def _load(self, m: Module, banks: list[_Bank]) -> None:
        """Take the elements of a vector to a memory that is free, in bit-reversed order of their words."""
        filling = Signal()
        place = Signal(range(_LONGEST))
        arriving = Signal(vector_state, reset_less=True)
        offered = self.elements.payload
        taken, special, at_end = (Signal(name=name) for name in ("taken", "special", "at_end"))
        element = Signal(offered.element.shape())
        largest = Signal.like(arriving.largest)
        word = Signal(STAGES)
        long = _is_long(arriving)
        m.d.comb += [
            special.eq(offered.element[10:15].all()),
            element.eq(Mux(special, Cat(Const(LARGEST_MAGNITUDE, 15), offered.element[-1]), offered.element)),
            largest.eq(Mux(field(element) > arriving.largest, field(element), arriving.largest)),
            at_end.eq(place == Mux(long, _LONGEST - 1, _LONGEST // 2 - 1)),
            word.eq(Mux(long, place[:0:-1], place[-2:0:-1])),
        ]
        m.d.sync += Cat(self.clamped, self.error_short, self.error_long).eq(0)
        with m.FSM(name="fill"):
            with m.State("request"):
                m.d.comb += self.requests.ready.eq(~self.full.bit_select(filling, 1))
                m.d.sync += [place.eq(0), arriving.request.eq(self.requests.payload), arriving.largest.eq(0)]
                with m.If(self.requests.valid & self.requests.ready):
                    m.next = "elements"
            with m.State("elements"):
                m.d.comb += [self.elements.ready.eq(1), taken.eq(self.elements.valid)]
                with m.If(taken):
                    m.d.sync += [place.eq(place + 1), arriving.largest.eq(largest), self.clamped.eq(special)]
                    with m.If(offered.last & at_end):
                        m.d.sync += [
                            self.states[filling].eq(Cat(arriving.request, largest)),
                            self.full.bit_select(filling, 1).eq(1),
                            filling.eq(~filling),
                        ]
                    with m.If(offered.last):
                        m.d.sync += self.error_short.eq(~at_end)
                        m.next = "request"
                    with m.Elif(at_end):
                        m.d.sync += self.error_long.eq(1)
                        m.next = "drop"
            with m.State("drop"):
                m.d.comb += self.elements.ready.eq(1)
                with m.If(self.elements.valid & offered.last):
                    m.next = "request"
        for number, bank in enumerate(banks):
            for part, write in enumerate(bank.writes):
                m.d.comb += [
                    write.addr.eq(word),
                    write.data.eq(element),
                    write.en.eq(taken & (filling == number) & (place[0] == part)),
                ]

    def _transform(self, m: Module, banks: list[_Bank]) -> None:
        """Walk through the words of a full memory, and behind that write its results."""
        m.submodules.butterflies = parts = Butterflies()
        m.submodules.read_walk = read_walk = ButterflyWalk()
        m.submodules.write_walk = write_walk = ButterflyWalk()
        reading, writing = Signal(name="reading"), Signal(name="writing")
        state, written = Signal(vector_state, name="read_state"), Signal(vector_state, name="written_state")
        under_way = Signal(butterflies.LATENCY + 1)
        writes_word = under_way[-2]
        reads_word = Signal()
        m.d.comb += [
            state.eq(self.states[reading]),
            written.eq(self.states[writing]),
            reads_word.eq(
                self.full.bit_select(reading, 1)
                & ~self.done.bit_select(reading, 1)
                & ~(read_walk.waits & under_way.any())
            ),
            read_walk.long.eq(_is_long(state)),
            read_walk.advance.eq(reads_word),
            write_walk.long.eq(_is_long(written)),
            write_walk.advance.eq(writes_word),
            parts.latter.eq(read_walk.latter),
            parts.opens.eq(read_walk.opens),
            parts.packs.eq(read_walk.packs),
            parts.turn.eq(read_walk.turn),
        ]
        m.d.sync += under_way.eq(Cat(reads_word, under_way))
        with m.If(reads_word & read_walk.last):
            m.d.sync += reading.eq(~reading)
        with m.If(writes_word & write_walk.last):
            m.d.sync += [self.done.bit_select(writing, 1).eq(1), writing.eq(~writing)]
        read = hold(m, None, "reading", reading)
        m.d.comb += [parts.word.eq(_word(banks, read)), parts.largest.eq(self._largest(m, read))]
        for bank in banks:
            for port in bank.reads:
                m.d.comb += port.addr.eq(read_walk.address)
        self._write_back(m, banks, writing, writes_word)

    def _write_back(self, m: Module, banks: list[_Bank], writing: Value, writes_word: Value) -> None:
        """Write real parts, and imaginary parts a cycle later."""
        parts, walk = m.submodules.butterflies, m.submodules.write_walk
        # The first two columns share a word, so that their butterfly has no second one.
        kept = Signal()
        m.d.comb += [
            kept.eq(writes_word & ~(walk.single & walk.latter)),
            parts.leaves_latter.eq(walk.latter),
            parts.leaves_difference.eq(hold(m, None, "leaves_difference", walk.latter | walk.single)),
        ]
        later_address = hold(m, None, "written_address", walk.address)
        later_bank = hold(m, None, "written_bank", writing)
        later_kept = hold(m, None, "kept", kept, reset=True)
        for number, bank in enumerate(banks):
            real, imaginary = bank.writes
            with m.If(self.full[number]):
                m.d.comb += [
                    real.addr.eq(walk.address),
                    real.data.eq(parts.real),
                    real.en.eq(kept & (writing == number)),
                    imaginary.addr.eq(later_address),
                    imaginary.data.eq(parts.imaginary),
                    imaginary.en.eq(later_kept & (later_bank == number)),
                ]

    def _largest(self, m: Module, bank: Value) -> Value:
        """Largest exponent field of the vector in a memory."""
        state = Signal(vector_state, name="aligned_state")
        m.d.comb += state.eq(self.states[bank])
        return state.largest

    def _leave(self, m: Module, banks: list[_Bank]) -> None:
        """Round the columns of a vector that is done, in their order."""
        bank = Signal(name="leaving")
        place = Signal(range(_LONGEST), name="leaving_place")
        state = Signal(vector_state, name="leaving_state")
        advance, takes, last = (Signal(name=f"leaving_{name}") for name in ("advance", "takes", "last"))
        left = hold(m, advance, "left", takes & last, reset=True)
        m.d.comb += [
            advance.eq(~self.columns.valid | self.columns.ready),
            takes.eq(self.done.bit_select(bank, 1) & ~left),
            state.eq(self.states[bank]),
            last.eq(place == Mux(_is_long(state), _LONGEST - 1, _LONGEST // 2 - 1)),
        ]
        with m.If(advance & takes):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        with m.If(advance & left):  # the last word has been taken from the memory
            m.d.sync += [
                self.full.bit_select(bank, 1).eq(0),
                self.done.bit_select(bank, 1).eq(0),
                bank.eq(~bank),
            ]
        for number, own in enumerate(banks):
            for read in own.reads:
                with m.If(self.done[number]):
                    m.d.comb += [read.addr.eq(place[1:]), read.en.eq(advance)]
                with m.Else():
                    m.d.comb += read.en.eq(1)
        self._round(m, banks, advance, bank, place, state)
        for stage in range(column_rounder.LATENCY + 1):
            takes = hold(m, advance, f"takes_{stage}", takes, reset=True)
            last = hold(m, advance, f"last_{stage}", last)
        m.d.comb += [self.columns.valid.eq(takes), self.columns.payload.last.eq(last)]
        m.d.sync += self.overflow.eq(takes & self.columns.ready & m.submodules.rounder.overflow)

    def _round(
        self, m: Module, banks: list[_Bank], advance: Value, bank: Value, place: Signal, state: data.View
    ) -> None:
        """Round the column whose word is looked up."""
        m.submodules.rounder = rounder = ColumnRounder()
        word = place[1:]
        long = _is_long(state)
        query = state.request.side == TransformSide.QUERY
        # A key's columns are divided by 32 or 64, a query's are doubled but for the first two.
        scale = Mux(query, Cat(word.any(), Const(0b11, 2)), ~long)
        conjugate = Mux(long, word[-1], word[-2])  # from the middle on
        found = Signal(complex_word, name="found_word")
        imaginary = hold(m, advance, "imaginary", place[0])
        m.d.comb += [
            found.eq(_word(banks, hold(m, advance, "bank", bank))),
            rounder.advance.eq(advance),
            rounder.number.eq(Mux(imaginary, found.imaginary, found.real)),
            rounder.opposite.eq(hold(m, advance, "opposite", place[0] & conjugate)),
            rounder.room.eq(hold(m, advance, "room", state.largest + scale - 1)),
            self.columns.payload.column.eq(rounder.half),
        ]
