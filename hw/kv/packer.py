"""KV packer: beats of codes to words of a page."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kv.codings import CODINGS
from hw.config import Config
from hw.kv.gearbox import GRANULES, places
from hw.kv.payloads import CODE_BITS, Coding, code_beat, coded_word
from hw.numbers.one_hot import choose
from hw.numbers.trits import TRIT_BITS, trit_bytes

__all__ = ["Packer"]

_KEPT = 4
"""Granules at the end of a beat that a later word can need."""


class Packer(wiring.Component):
    """Lay beats of W codes out in words of W bits; the inverse of ``Unpacker``. W is ``config.kv.word_bits``.

    A page begins with a beat and a word. A beat stays at the input until the last word that begins in it is
    made: b words of b bits come out of one beat, eight words of trits out of five. A word of trits can span
    two beats, so the second half of the last beat is kept. The last word of a page of trits is filled up
    with zeros; if it holds no granule of a new beat, the input waits for one cycle.

    Throughput: a word a cycle, sustained, whatever the codings. Latency: 1 cycle. ``beats.ready`` is
    combinational from ``words.ready`` and from the coding at the input: to break these paths would take a
    register of W bits and one of 8 W bits.

    Codes must fit their coding: what lies above is ignored, a trit of 3 gives an undefined byte. Beats of a
    reserved coding give a word each, all zeros.

    Members:
        beats (in): the pages' codes.
        words (out): the words, each with the coding of its page.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.width = config.kv.word_bits
        super().__init__(
            {
                "beats": In(stream.Signature(code_beat(self.width))),
                "words": Out(stream.Signature(coded_word(self.width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, word = self.beats.p, self.words.p
        phase = Signal(range(GRANULES))
        at = Signal(GRANULES)
        dense = Signal(CODE_BITS + 1)  # bit b: dense codes of b bits
        flush, trits, room, done = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [at[number].eq(phase == number) for number in range(GRANULES)]
        m.d.comb += [
            dense[coding.bits].eq(~flush & (beat.coding == Coding(number)))
            for number, coding in enumerate(CODINGS)
            if not coding.trits
        ]
        whole = Cat(dense[coding.bits] & at[coding.bits - 1] for coding in CODINGS if not coding.trits).any()
        reserved = beat.coding.as_value()[1:].all()
        m.d.comb += [
            trits.eq(flush | (beat.coding == Coding.TRITS)),
            room.eq(~self.words.valid | self.words.ready),
            done.eq(whole | reserved | (trits & _any(at, _releases))),
            self.beats.ready.eq(room & ~flush & done),
        ]
        closing = ~flush & done & beat.last
        more = closing & trits & _any(at, _leaves)
        data = self._word(m, at, dense, trits, flush)
        with m.If(room):
            m.d.sync += self.words.valid.eq(self.beats.valid | flush)
        with m.If(room & (self.beats.valid | flush)):
            m.d.sync += [
                phase.eq(Mux(flush | whole | (closing & ~more), 0, phase + 1)),
                flush.eq(more),
                word.data.eq(data),
                word.coding.eq(Mux(flush, Coding.TRITS, beat.coding)),
                word.last.eq(flush | (closing & ~more)),
            ]
        return m

    def _word(self, m: Module, at: Value, dense: Value, trits: Value, flush: Value) -> Value:
        """The word that ``phase`` calls for."""
        quarters = self._quarters(m, at, dense, trits, flush)
        halves = self._halves(m, at, dense, quarters)
        eighth = [self._plane(0, n) for n in range(CODE_BITS)]
        for n in range(CODE_BITS):
            if n < 4:
                eighth[n] = halves[0][n] | halves[1][n]
            else:
                eighth[n] = choose(at, [self._plane(granule, n) for granule in range(GRANULES)])
        triples = Cat(self.beats.p.codes[code][:3] for code in range(self.width))
        lines = [dense[1], dense[2], dense[4], dense[8], trits, *(dense[3] & at[j] for j in range(3))]
        words = [
            Cat(code[0] for code in self.beats.p.codes),
            Cat(_interleaved(quarters[q][:2]) for q in range(4)),
            Cat(_interleaved(halves[h][:4]) for h in range(2)),
            _interleaved(eighth),
            self._bytes(m, at, flush, quarters),
            *(triples.word_select(j, self.width) for j in range(3)),
        ]
        return choose(lines, words)

    def _quarters(self, m: Module, at: Value, dense: Value, trits: Value, flush: Value) -> list[list[Value]]:
        """Bits 0 and 1 of the granules wanted, at most one of each residue modulo 4 but for the last slot."""
        keep = Signal()
        m.d.comb += keep.eq(self.beats.valid & self.beats.ready & trits)
        result: list[list[Value]] = []
        for residue in range(4):
            lines = []
            sources: list[list[Value]] = []
            for granule in (residue, residue + 4):
                fresh = Signal(name=f"fresh_{granule}")
                selected = [dense[bits] & at[bits * granule // GRANULES] for bits in (2, 4, 8)]
                m.d.comb += fresh.eq(Cat(selected).any() | (trits & ~flush & _any(at, _fresh(granule))))
                lines.append(fresh)
                sources.append([self._plane(granule, n) for n in range(TRIT_BITS)])
            late = residue + 4
            kept = [
                Signal(self.width // GRANULES, name=f"kept{n}_{late}", reset_less=True)
                for n in range(TRIT_BITS)
            ]
            with m.If(keep):
                m.d.sync += [kept[n].eq(self._plane(late, n)) for n in range(TRIT_BITS)]
            lines.append(trits & _any(at, _kept(late)))
            sources.append(kept)
            planes = [Signal(self.width // GRANULES, name=f"quarter{n}_{residue}") for n in range(TRIT_BITS)]
            m.d.comb += [
                planes[n].eq(choose(lines, [source[n] for source in sources])) for n in range(TRIT_BITS)
            ]
            result.append(planes)
        return result

    def _halves(self, m: Module, at: Value, dense: Value, quarters: list[list[Value]]) -> list[list[Value]]:
        """Bits 0 to 3 of the even and of the odd granule wanted; one of them is 0 for codes of 8 bits."""
        result: list[list[Value]] = []
        for half in range(2):
            granules = range(half, GRANULES, 2)
            lines = [(dense[4] & at[g // 2]) | (dense[8] & at[g]) for g in granules]
            planes = [quarters[half][n] | quarters[half + 2][n] for n in range(2)]
            planes += [choose(lines, [self._plane(g, n) for g in granules]) for n in (2, 3)]
            result.append(planes)
        return result

    def _bytes(self, m: Module, at: Value, flush: Value, quarters: list[list[Value]]) -> Value:
        """Bytes of the five granules of trits wanted."""
        slots: list[list[Value]] = []
        for slot in range(4):
            lines = [at[(residue - slot) % 4] | at[(residue - slot) % 4 + 4] for residue in range(4)]
            slots.append([choose(lines, [quarters[r][n] for r in range(4)]) for n in range(TRIT_BITS)])
        last = [places(phase)[-1].granule for phase in range(GRANULES)]
        lines = [line & ~flush for line in at]
        slots.append([choose(lines, [self._plane(g, n) for g in last]) for n in range(TRIT_BITS)])
        digits = [Cat(bits) for planes in slots for bits in zip(*planes, strict=True)]
        return trit_bytes(m, digits, "encoder")

    def _plane(self, granule: int, n: int) -> Value:
        """Bit ``n`` of the codes of a granule at the input."""
        size = self.width // GRANULES
        codes = self.beats.p.codes
        return Cat(codes[code][n] for code in range(granule * size, (granule + 1) * size))


def _interleaved(planes: list[Value]) -> Value:
    """Codes out of the planes of their bits."""
    return Cat(bit for bits in zip(*planes, strict=True) for bit in bits)


def _any(lines: Value, wanted: Callable[[int], bool]) -> Value:
    """Whether the phase is one that is wanted."""
    return Cat(line for phase, line in enumerate(lines) if wanted(phase)).any()


def _releases(phase: int) -> bool:
    """Whether what word ``phase`` leaves of its last beat can be kept."""
    return places(phase)[-1].granule >= GRANULES - _KEPT - 1


def _leaves(phase: int) -> bool:
    """Whether word ``phase`` leaves anything of its last beat."""
    return places(phase)[-1].granule < GRANULES - 1


def _spans(phase: int) -> bool:
    return any(place.following for place in places(phase))


def _fresh(granule: int) -> Callable[[int], bool]:
    """Phases in which one of the first four slots takes this granule from the input."""
    return lambda phase: any(
        place.granule == granule and (place.following or not _spans(phase)) for place in places(phase)[:-1]
    )


def _kept(granule: int) -> Callable[[int], bool]:
    """Phases in which one of the first four slots takes this granule from those kept."""
    return lambda phase: (
        _spans(phase) and any(place.granule == granule and not place.following for place in places(phase))
    )
