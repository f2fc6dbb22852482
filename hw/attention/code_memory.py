"""Code memory: the codes of a page as chunks of the array, sent again for each turn of its queries.

A ring of granules, each as many bits as a chunk has codes; a chunk of codes of b bits is b granules. Granules
lie in banks in turn, so that all of a chunk can be read at once wherever it begins. A page's codes follow
those of the page before; while its last turn reads them they make way for those of the next page.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from golden.numbers import datatypes
from golden.numbers.datatypes import LANE_BITS, DataType
from hw.attention.page_datatypes import BITMOD_TYPES, DATATYPES
from hw.attention.payloads import chunk_codes, code_page, dense_words
from hw.config import Config, ConfigurationError
from hw.kv.payloads import CODE_BITS, SHORTEST_GROUP, Coding, Side
from hw.numbers.one_hot import choose
from hw.weights.lane_mapper import lane_wires

__all__ = ["BANKS", "CodeMemory", "dense_bits", "depth"]

BANKS = CODE_BITS
DENSE_TYPES = {bits: datatypes.get(f"int{bits}_asym") for bits in (2, 3, 4, 8)}
"""How the array takes the codes of each width; trits and single bits are written so that it is their way."""

_GROUP = 4
"""Banks in a row that hold any chunk of up to four bits."""


def depth(config: Config) -> int:
    """Granules: as many as the codes of the largest page have, rounded up to a power of two."""
    granule = config.rows * config.lanes
    return 1 << ceil_log2(config.kv.page_tokens * config.kv.channels * CODE_BITS // granule)


def dense_bits(coding: Coding) -> int:
    """Bits of a code in the memory."""
    return max(DATATYPES[coding].bits, 2)


class CodeMemory(wiring.Component):
    """Send page after page, a chunk a cycle without a gap between turns and pages.

    A chunk is offered two cycles after the last word of it came. While all of the memory waits for its last
    turn no word is taken.

    Members:
        pages (in stream): pages, in the order of their words; taken with the last turn's last chunk.
        dense (in stream): words of dense codes.
        codes (out stream): all chunks of a page for each turn, as the array takes them.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.granule = config.rows * config.lanes
        self.parts = config.memory_bits // self.granule
        if 2 * self.parts > BANKS:
            self._MustUse__used = True  # Amaranth would warn of a component that is refused here
            raise ConfigurationError(
                f"memory_bits {config.memory_bits} must be at most {BANKS // 2} * rows * lanes"
            )
        super().__init__(
            {
                "pages": In(stream.Signature(code_page(config))),
                "dense": In(stream.Signature(dense_words(config))),
                "codes": Out(stream.Signature(chunk_codes(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = depth(self.config)
        # Places in the ring have one more bit, which tells a full one from an empty one.
        written = Signal(range(2 * size))
        free = Signal.like(written)
        place = Signal.like(written)
        fetches = Signal()
        advance = Signal()
        banks = []
        for number in range(BANKS):
            bank = memory.Memory(shape=self.granule, depth=size // BANKS, init=[])
            m.submodules[f"bank_{number}"] = bank
            banks.append(bank)
        self._write(m, banks, written, free)
        self._walk(m, written, free, place, fetches, advance)

        coding = Signal(Coding, reset_less=True)
        bitmod: Value = Const(0, 1)
        of_key = Signal(reset_less=True)
        shift = Signal(range(BANKS), reset_less=True)
        present = Signal()
        granules = []
        for number, bank in enumerate(banks):
            read = bank.read_port()
            ahead = _beyond(place[: exact_log2(BANKS)], number)
            m.d.comb += [
                read.en.eq(advance),
                read.addr.eq(place[exact_log2(BANKS) : -1] + ahead),
            ]
            granules.append(read.data)
        with m.If(advance):
            m.d.sync += [
                present.eq(fetches),
                coding.eq(self.pages.payload.coding),
                of_key.eq(self.pages.payload.side == Side.KEY),
                shift.eq(place),
            ]
            m.d.sync += self.codes.valid.eq(present)
        if self.config.kv.bitmod:
            bitmod = Signal(name="bitmod", reset_less=True)
            with m.If(advance):
                m.d.sync += bitmod.eq(self.pages.payload.bitmod)
        m.d.comb += advance.eq(~self.codes.valid | self.codes.ready)
        lanes = self._select(m, granules, self._types(coding, bitmod), shift)
        self._order(m, lanes, of_key, advance)
        return m

    def _write(self, m: Module, banks: Sequence[memory.Memory], written: Signal, free: Value) -> None:
        """One word or two at the end of the ring."""
        parts, size = self.parts, depth(self.config)
        beat = self.dense.payload
        row = written[exact_log2(BANKS) : -1]
        used = Signal.like(written)
        freed = Signal.like(written)
        taken = Signal()
        # A cycle late, or the oldest page's length would be the words' readiness.
        m.d.sync += freed.eq(free)
        m.d.comb += [
            used.eq(written - freed),
            self.dense.ready.eq(used <= size - Mux(beat.both, 2 * parts, parts)),
            taken.eq(self.dense.valid & self.dense.ready),
        ]
        for number, bank in enumerate(banks):
            write = bank.write_port()
            apart = Signal(range(BANKS), name=f"apart_{number}")
            first = apart < parts
            second = (apart < 2 * parts) & beat.both
            granule = [word.word_select(number % parts, self.granule) for word in beat.words]
            m.d.comb += [
                apart.eq(number - written),
                write.addr.eq(row + _beyond(written[: exact_log2(BANKS)], number)),
                write.data.eq(Mux(first, granule[0], granule[1])),
                write.en.eq(taken & (first | second)),
            ]
        end = Signal.like(written)
        m.d.comb += end.eq(written + Mux(beat.both, 2 * parts, parts))
        with m.If(taken):
            m.d.sync += written.eq(Mux(beat.last, _page_begin(end), end))

    def _walk(
        self, m: Module, written: Signal, free: Signal, place: Signal, fetches: Signal, advance: Value
    ) -> None:
        """Chunk after chunk, turn after turn."""
        page, config = self.pages.payload, self.config
        unit = SHORTEST_GROUP * config.kv.page_tokens // self.granule  # chunks of 16 channels
        begin = Signal.like(written)
        turn = Signal.like(page.last_turn)
        chunk = Signal(range(unit * (config.kv.channels // SHORTEST_GROUP)))
        bits = Signal(range(CODE_BITS + 1))
        last_chunk = Signal()
        last_turn = Signal()
        there = Signal()
        following = Signal.like(place)
        with m.Switch(page.coding):
            for coding in DATATYPES:
                with m.Case(coding):
                    m.d.comb += bits.eq(dense_bits(coding))
        m.d.comb += [
            there.eq((written - place)[: len(written)] >= bits),
            fetches.eq(self.pages.valid & there),
            last_chunk.eq(chunk == page.channels * unit - 1),
            last_turn.eq(turn == page.last_turn),
            following.eq(place + bits),
            free.eq(Mux(last_turn & self.pages.valid, place, begin)),
            self.pages.ready.eq(fetches & advance & last_chunk & last_turn),
        ]
        with m.If(fetches & advance):
            m.d.sync += [chunk.eq(chunk + 1), place.eq(following)]
            with m.If(last_chunk):
                m.d.sync += [chunk.eq(0), turn.eq(Mux(last_turn, 0, turn + 1))]
                with m.If(last_turn):
                    m.d.sync += [begin.eq(_page_begin(following)), place.eq(_page_begin(following))]
                with m.Else():
                    m.d.sync += place.eq(begin)

    def _types(self, coding: Value, bitmod: Value) -> dict[str, tuple[DataType, Value]]:
        """Types whose codes lie differently in memory or in lanes, and whether the present ones are theirs.

        BitMoD's codes of 4 bits lie as those of integers do, its codes of 3 bits have lanes of their own.
        """
        types: dict[str, tuple[DataType, Value]] = {}
        for bits, dtype in DENSE_TYPES.items():
            those = [entry for entry in DATATYPES if dense_bits(entry) == bits]
            types[str(bits)] = dtype, Cat(coding == entry for entry in those).any()
        if self.config.kv.bitmod:
            own = BITMOD_TYPES[Coding.BITS3]
            integers, of_three = types[str(own.bits)]
            types |= {str(own.bits): (integers, of_three & ~bitmod), own.name: (own, of_three & bitmod)}
        return types

    def _select(
        self,
        m: Module,
        granules: Sequence[Value],
        types: dict[str, tuple[DataType, Value]],
        shift: Value,
    ) -> list[Value]:
        """The lanes of a chunk, out of the banks that its granules lie in."""
        window = []
        for number in range(_GROUP):
            # A chunk begins in one half of the banks and goes on in the other.
            upper = Signal(name=f"upper_{number}")
            part = Signal(self.granule, name=f"window_{number}")
            m.d.comb += [
                upper.eq(shift[-1] ^ _beyond(shift[:-1], number)),
                part.eq(Mux(upper, granules[number + _GROUP], granules[number])),
            ]
            window.append(part)
        lines: dict[tuple[DataType, int], Signal] = {}
        for name, (dtype, present) in types.items():
            for start in sorted({dtype.bits * number % _GROUP for number in range(_GROUP)}):
                line = Signal(name=f"chunk_{name}_{start}")
                m.d.comb += line.eq(present & (shift[:-1] == start))
                lines[dtype, start] = line
        return [self._lane(number, granules, window, lines) for number in range(self.granule)]

    def _lane(
        self,
        number: int,
        granules: Sequence[Value],
        window: Sequence[Value],
        lines: dict[tuple[DataType, int], Signal],
    ) -> Value:
        """A code left-aligned in its byte."""
        sources: list[list[tuple[Value, Value]]] = [[] for _ in range(LANE_BITS)]
        for (dtype, start), line in lines.items():
            banks = granules if dtype.bits > _GROUP else window
            for lane_bit, wire in enumerate(lane_wires(dtype)):
                for bit in wire:
                    granule, rest = divmod(dtype.bits * number + bit, self.granule)
                    sources[lane_bit].append((line, banks[(start + granule) % len(banks)][rest]))
        return Cat(choose(*zip(*chosen, strict=True)) for chosen in sources)

    def _order(self, m: Module, lanes: Sequence[Value], of_key: Value, advance: Value) -> None:
        """Rows of a chunk are tokens of keys, which lie row by row, or channels of values, which do not."""
        rows, across = self.config.rows, self.config.lanes
        for row in range(rows):
            for lane in range(across):
                chosen = Mux(of_key, lanes[row * across + lane], lanes[lane * rows + row])
                with m.If(advance):
                    m.d.sync += self.codes.payload[row][lane].eq(chosen)


def _beyond(start: Value, bank: int) -> Value:
    """Whether what begins at a bank reaches this one in the next row only."""
    return start > bank if bank + 1 < 1 << len(start) else Const(0, 1)


def _page_begin(end: Value) -> Value:
    """Where the next page begins: in the first bank, since chunks of the widest codes are in all of them."""
    low = exact_log2(BANKS)
    return Cat(Const(0, low), (end + BANKS - 1)[low : len(end)])
