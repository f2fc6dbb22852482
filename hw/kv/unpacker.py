"""KV unpacker: words of a page to beats of codes."""

from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.trits import TRITS
from hw.config import Config
from hw.kv.gearbox import GRANULES, CodingPhase, completes, places
from hw.kv.payloads import CODE_BITS, Coding, code_beat, coded_word
from hw.numbers.one_hot import choose
from hw.numbers.trits import TRIT_BITS, TritDecoder
from hw.sharing import share

__all__ = ["Unpacker"]

_PARKED = 4
"""Granules that a word can hold beyond the beat that it completes, and the first plane that keeps them."""


class Unpacker(wiring.Component):
    """Gather the codes of a page's words in beats of W codes, W being ``config.memory_bits``.

    A page begins with a word and a beat, and its ``last`` word completes its last beat: a page is a whole
    number of beats, and what pads the last word of trits is less than a beat. The coding may change from one
    page to the next.

    Codes are gathered in the output register itself, each word in its place; only the granules of trits that
    follow the beat under way need another place. They are parked in bits 2 and 3 of the first half of the
    beat, which trits leave unused, and move down one word later; the output masks them.

    Throughput: a word a cycle, sustained, whatever the codings: b words of b bits make a beat, eight words of
    trits five beats. Latency: 1 cycle from the word that completes a beat. ``words.ready`` is combinational
    from ``beats.ready``; to break that path would take a second register of W bits.

    A byte that does not stand for trits gives some trits of 0..2 and a cycle of ``error``. A page that is cut
    short ends with a beat whose missing codes are undefined, one with words too many gives more beats; the
    next page is intact either way. Words of a reserved coding give no beat but that of ``last``.

    Members:
        words (in): the pages' words, each with the coding of its page.
        beats (out): their codes.
        error (out): the word taken in the previous cycle has an illegal byte of trits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.width = config.memory_bits
        super().__init__(
            {
                "words": In(stream.Signature(coded_word(self.width))),
                "beats": Out(stream.Signature(code_beat(self.width))),
                "error": Out(1),
            }
        )
        self._data = Signal(self.width, name="data")  # slices of slices would be slow to emit

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, beat = self.words.p, self.beats.p
        turn = CodingPhase(m, word.coding)
        take = Signal()
        whole = Signal()
        m.d.comb += [
            self.words.ready.eq(~self.beats.valid | self.beats.ready),
            take.eq(self.words.valid & self.words.ready),
            whole.eq(turn.ends(lambda bits: bits - 1)),
            self._data.eq(word.data),
        ]
        decoders = [share(m, f"decoder_{number}", TritDecoder()) for number in range(self.width // 8)]
        m.d.comb += [
            decoder.octet.eq(self._data.word_select(number, 8)) for number, decoder in enumerate(decoders)
        ]
        illegal = Cat(decoder.illegal for decoder in decoders)
        complete = word.last | whole | (turn.trits & turn.when(completes))
        m.d.sync += self.error.eq(take & turn.trits & illegal.any())
        with m.If(take):
            m.d.sync += turn.phase.eq(Mux(word.last | whole, 0, turn.phase + 1))
            m.d.sync += [beat.coding.eq(word.coding), beat.last.eq(word.last)]
        with m.If(self.words.ready):
            m.d.sync += self.beats.valid.eq(self.words.valid & complete)
        digits = [decoder.trits[place] for decoder in decoders for place in range(TRITS)]
        self._gather(m, turn, take, digits)
        return m

    def _gather(self, m: Module, turn: CodingPhase, take: Value, digits: list[Value]) -> None:
        """Write the codes of the word at the input, and move parked ones down."""
        size = self.width // GRANULES
        slots = self._slots(digits)
        shared = self._shared(m, turn, slots)
        parking = Signal()
        m.d.comb += parking.eq(self.beats.p.coding == Coding.TRITS)
        codes: list[Value] = []
        for granule in range(GRANULES):
            kept = [Signal(size, name=f"plane_{n}_{granule}", reset_less=True) for n in range(CODE_BITS)]
            arrives = turn.when(partial(_arrival, granule=granule))
            unparks = turn.when(partial(_unparks, granule=granule))
            aligned = self._aligned(m, turn, granule, slots[-1], shared[granule % 4])
            parked = turn.trits & unparks
            planes = [self._plane(turn, granule, n, kept, shared, aligned, parked) for n in range(CODE_BITS)]
            self._write(m, turn, granule, kept, planes, take, arrives | unparks)
            shown = list(kept)
            for n in range(CODE_BITS):
                if _parks(granule, n):
                    shown[n] = Signal(size, name=f"shown_{n}_{granule}")
                    m.d.comb += shown[n].eq(Cat(bit & ~parking for bit in kept[n]))
            codes += (plane[place] for place in range(size) for plane in shown)
        m.d.comb += self.beats.p.codes.eq(Cat(codes))

    def _aligned(
        self, m: Module, turn: CodingPhase, granule: int, last: list[Value], shared: list[Value]
    ) -> list[Signal]:
        """Planes of the trits of a granule.

        The last slot shares its residue modulo 4 with the first one, which lies four granules away.
        """
        own = Signal(name=f"own_{granule}")
        m.d.comb += own.eq(turn.trits & turn.when(lambda phase: places(phase)[-1].granule == granule))
        aligned = [Signal(self.width // GRANULES, name=f"aligned_{n}_{granule}") for n in range(TRIT_BITS)]
        m.d.comb += [aligned[n].eq(Mux(own, last[n], shared[n])) for n in range(TRIT_BITS)]
        return aligned

    def _plane(
        self,
        turn: CodingPhase,
        granule: int,
        n: int,
        kept: list[Signal],
        shared: list[list[Value]],
        aligned: list[Signal],
        parked: Value,
    ) -> Value:
        """What bit ``n`` of a granule's codes becomes; ``parked``: its trits came with the word before."""
        early = granule < _PARKED
        lines: list[Value] = []
        sources: list[Value] = []
        if n < TRIT_BITS and early:
            lines, sources = [parked], [kept[n + TRIT_BITS]]
        for bits in (1, 3):
            if n < bits:
                lines.append(turn.dense[bits])
                sources.append(self._dense_plane(bits, granule, n))
        if n < TRIT_BITS:
            base = Mux(parked, 0, shared[granule % 4][n]) if early else aligned[n]
        elif n < 2 * TRIT_BITS:
            base = shared[granule % 4][n]
            if early:
                base = base | Mux(turn.trits, aligned[n - TRIT_BITS], 0)
        else:
            base = shared[0][n]
        return base | choose(lines, sources) if lines else base

    def _slots(self, digits: list[Value]) -> list[list[Value]]:
        """Planes of trits in the five granules of the word."""
        size = self.width // GRANULES
        return [
            [Cat(digit[n] for digit in digits[slot * size : (slot + 1) * size]) for n in range(TRIT_BITS)]
            for slot in range(TRITS)
        ]

    def _shared(self, m: Module, turn: CodingPhase, slots: list[list[Value]]) -> list[list[Value]]:
        """Planes that granules of equal residue modulo 4 have in common."""
        result: list[list[Value]] = []
        for residue in range(4):
            planes: list[Value] = []
            for n in range(CODE_BITS):
                lines = [turn.dense[bits] for bits in (2, 4, 8) if n < bits]
                sources = [self._dense_plane(bits, residue, n) for bits in (2, 4, 8) if n < bits]
                if n < TRIT_BITS:
                    for slot in range(4):
                        first = (residue - slot) % 4
                        lines.append(turn.trits & (turn.at[first] | turn.at[first + 4]))
                        sources.append(slots[slot][n])
                plane = Signal(self.width // GRANULES, name=f"shared_{n}_{residue}")
                m.d.comb += plane.eq(choose(lines, sources))
                planes.append(plane)
            result.append(planes)
        return result

    def _dense_plane(self, bits: int, granule: int, n: int) -> Value:
        """Bit ``n`` of the codes of a granule, out of the word that they come in."""
        size = self.width // GRANULES
        codes = range(granule * size, (granule + 1) * size)
        return Cat(self._data[(bits * code + n) % self.width] for code in codes)

    def _write(
        self,
        m: Module,
        turn: CodingPhase,
        granule: int,
        kept: list[Signal],
        planes: list[Value],
        take: Value,
        settled: Value,
    ) -> None:
        """Registers of one granule; codes of 3 bits split it where a word ends."""
        size = self.width // GRANULES
        plain = Cat(turn.dense[bits] & turn.at[bits * granule // GRANULES] for bits in (1, 2, 4, 8)).any()
        for n in range(CODE_BITS):
            words = [
                (3 * code + min(n, 2)) // self.width for code in range(granule * size, granule * size + size)
            ]
            for number in sorted(set(words)):
                write = Signal(name=f"write_{n}_{granule}_{number}")
                third = turn.dense[3] & turn.at[number]
                trits = turn.trits & (1 if _parks(granule, n) else settled)
                m.d.comb += write.eq(take & (plain | third | trits))
                part = slice(words.index(number), size - words[::-1].index(number))
                with m.If(write):
                    m.d.sync += kept[n][part].eq(planes[n][part])


def _parks(granule: int, n: int) -> bool:
    """Whether bit ``n`` of a granule's codes keeps parked trits."""
    return granule < _PARKED and TRIT_BITS <= n < 2 * TRIT_BITS


def _arrival(phase: int, granule: int) -> bool:
    """Whether word ``phase`` brings a granule of the beat under way."""
    return any(place.granule == granule and not place.following for place in places(phase))


def _unparks(phase: int, granule: int) -> bool:
    """Whether a granule of the beat under way came with the word before."""
    return any(place.granule == granule and place.following for place in places((phase - 1) % GRANULES))
