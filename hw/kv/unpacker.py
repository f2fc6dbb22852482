"""KV unpacker: words of a page to beats of codes."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kv.codings import CODINGS
from golden.numbers.trits import TRITS
from hw.config import Config
from hw.kv.gearbox import GRANULES, completes, places
from hw.kv.payloads import CODE_BITS, Coding, code_beat, coded_word
from hw.numbers.one_hot import choose
from hw.numbers.trits import TRIT_BITS, TritDecoder
from hw.sharing import share

__all__ = ["Unpacker"]

_PARKED = 4
"""Granules that a word can hold beyond the beat that it completes, and the first plane that keeps them."""


class Unpacker(wiring.Component):
    """Gather the codes of a page's words in beats of W codes, W being ``config.kv.word_bits``.

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
        self.width = config.kv.word_bits
        super().__init__(
            {
                "words": In(stream.Signature(coded_word(self.width))),
                "beats": Out(stream.Signature(code_beat(self.width))),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, beat = self.words.p, self.beats.p
        phase = Signal(range(GRANULES))
        at = Signal(GRANULES)
        dense = Signal(CODE_BITS + 1)  # bit b: dense codes of b bits
        trits, take, whole = Signal(), Signal(), Signal()
        m.d.comb += [at[number].eq(phase == number) for number in range(GRANULES)]
        m.d.comb += [
            dense[coding.bits].eq(word.coding == Coding(number))
            for number, coding in enumerate(CODINGS)
            if not coding.trits
        ]
        m.d.comb += [
            trits.eq(word.coding == Coding.TRITS),
            self.words.ready.eq(~self.beats.valid | self.beats.ready),
            take.eq(self.words.valid & self.words.ready),
            whole.eq(Cat(dense[bits] & at[bits - 1] for bits in _dense_widths()).any()),
        ]
        decoders = [share(m, f"decoder_{number}", TritDecoder()) for number in range(self.width // 8)]
        m.d.comb += [
            decoder.octet.eq(word.data.word_select(number, 8)) for number, decoder in enumerate(decoders)
        ]
        illegal = Cat(decoder.illegal for decoder in decoders)
        complete = word.last | whole | (trits & Cat(at[p] for p in range(GRANULES) if completes(p)).any())
        m.d.sync += self.error.eq(take & trits & illegal.any())
        with m.If(take):
            m.d.sync += phase.eq(Mux(word.last | whole, 0, phase + 1))
            m.d.sync += [beat.coding.eq(word.coding), beat.last.eq(word.last)]
        with m.If(self.words.ready):
            m.d.sync += self.beats.valid.eq(self.words.valid & complete)
        digits = [decoder.trits[place] for decoder in decoders for place in range(TRITS)]
        self._gather(m, at, dense, trits, take, digits)
        return m

    def _gather(
        self, m: Module, at: Value, dense: Value, trits: Value, take: Value, digits: list[Value]
    ) -> None:
        """Write the codes of the word at the input, and move parked ones down."""
        size = self.width // GRANULES
        slots = self._slots(digits)
        shared = self._shared(m, at, dense, trits, slots)
        parking = Signal()
        m.d.comb += parking.eq(self.beats.p.coding == Coding.TRITS)

        for granule in range(GRANULES):
            kept = [Signal(size, name=f"plane{n}_{granule}", reset_less=True) for n in range(CODE_BITS)]
            arrives = _any(at, (p for p in range(GRANULES) if _arrival(p, granule)))
            unparks = _any(at, (p for p in range(GRANULES) if _unparks(p, granule)))
            # The last slot shares its residue modulo 4 with the first one, which lies four granules away.
            ends = _any(at, (p for p in range(GRANULES) if places(p)[-1].granule == granule))
            own = Signal(name=f"own_{granule}")
            m.d.comb += own.eq(trits & ends)
            aligned = [Signal(size, name=f"aligned{n}_{granule}") for n in range(TRIT_BITS)]
            for n in range(TRIT_BITS):
                m.d.comb += aligned[n].eq(Mux(own, slots[-1][n], shared[granule % 4][n]))
            plane: list[Value] = []
            for n in range(CODE_BITS):
                lines: list[Value] = []
                sources: list[Value] = []
                if n < TRIT_BITS and granule < _PARKED:
                    lines, sources = [trits & unparks], [kept[n + TRIT_BITS]]
                for bits in (1, 3):
                    if n < bits:
                        lines.append(dense[bits])
                        sources.append(self._dense_plane(bits, granule, n))
                if n < TRIT_BITS:
                    base = shared[granule % 4][n] if granule < _PARKED else aligned[n]
                    if granule < _PARKED:
                        base = Mux(trits & unparks, 0, base)
                elif n < 2 * TRIT_BITS:
                    base = shared[granule % 4][n]
                    if granule < _PARKED:
                        base = base | Mux(trits, aligned[n - TRIT_BITS], 0)
                else:
                    base = shared[0][n]
                plane.append(base | choose(lines, sources) if lines else base)
            self._write(m, granule, kept, plane, at, dense, trits, take, arrives | unparks)
            for n in range(CODE_BITS):
                parks = granule < _PARKED and n in (2, 3)
                for place in range(size):
                    bit = kept[n][place] & ~parking if parks else kept[n][place]
                    m.d.comb += self.beats.p.codes[granule * size + place][n].eq(bit)

    def _slots(self, digits: list[Value]) -> list[list[Value]]:
        """Planes of trits in the five granules of the word."""
        size = self.width // GRANULES
        return [
            [Cat(digit[n] for digit in digits[slot * size : (slot + 1) * size]) for n in range(TRIT_BITS)]
            for slot in range(TRITS)
        ]

    def _shared(
        self, m: Module, at: Value, dense: Value, trits: Value, slots: list[list[Value]]
    ) -> list[list[Value]]:
        """Planes that granules of equal residue modulo 4 have in common."""
        result: list[list[Value]] = []
        for residue in range(4):
            planes: list[Value] = []
            for n in range(CODE_BITS):
                lines = [dense[bits] for bits in (2, 4, 8) if n < bits]
                sources = [self._dense_plane(bits, residue, n) for bits in (2, 4, 8) if n < bits]
                if n < TRIT_BITS:
                    for slot in range(4):
                        first = (residue - slot) % 4
                        lines.append(trits & (at[first] | at[first + 4]))
                        sources.append(slots[slot][n])
                plane = Signal(self.width // GRANULES, name=f"shared{n}_{residue}")
                m.d.comb += plane.eq(choose(lines, sources))
                planes.append(plane)
            result.append(planes)
        return result

    def _dense_plane(self, bits: int, granule: int, n: int) -> Value:
        """Bit ``n`` of the codes of a granule, out of the word that they come in."""
        size = self.width // GRANULES
        codes = range(granule * size, (granule + 1) * size)
        return Cat(self.words.p.data[(bits * code + n) % self.width] for code in codes)

    def _write(
        self,
        m: Module,
        granule: int,
        kept: list[Signal],
        plane: list[Value],
        at: Value,
        dense: Value,
        trits: Value,
        take: Value,
        settled: Value,
    ) -> None:
        """Registers of one granule; codes of 3 bits split it where a word ends."""
        size = self.width // GRANULES
        plain = _any(Cat(dense[bits] & at[bits * granule // GRANULES] for bits in (1, 2, 4, 8)), range(4))
        for n in range(CODE_BITS):
            words = [
                (3 * code + min(n, 2)) // self.width for code in range(granule * size, granule * size + size)
            ]
            for number in sorted(set(words)):
                write = Signal(name=f"write{n}_{granule}_{number}")
                parks = granule < _PARKED and n in (2, 3)
                m.d.comb += write.eq(
                    take & (plain | (dense[3] & at[number]) | (trits & (1 if parks else settled)))
                )
                part = slice(words.index(number), size - words[::-1].index(number))
                with m.If(write):
                    m.d.sync += kept[n][part].eq(plane[n][part])


def _dense_widths() -> tuple[int, ...]:
    return tuple(coding.bits for coding in CODINGS if not coding.trits)


def _any(lines: Value, numbers) -> Value:
    return Cat(lines[number] for number in numbers).any()


def _arrival(phase: int, granule: int) -> bool:
    """Whether word ``phase`` brings a granule of the beat under way."""
    return any(place.granule == granule and not place.following for place in places(phase))


def _unparks(phase: int, granule: int) -> bool:
    """Whether a granule of the beat under way came with the word before."""
    return any(place.granule == granule and place.following for place in places((phase - 1) % GRANULES))
