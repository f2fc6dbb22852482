"""KV packer: beats of codes to words of a page."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.gearbox import GRANULES, CodingPhase, places
from hw.kv.payloads import CODE_BITS, Coding, code_beat, coded_word
from hw.numbers.one_hot import choose
from hw.numbers.trits import TRIT_BITS, trit_bytes

__all__ = ["Packer"]

_KEPT = 4
"""Granules at the end of a beat that a later word can need."""


class Packer(wiring.Component):
    """Lay beats of W codes out in words of W bits; the inverse of ``Unpacker``. W is ``config.memory_bits``.

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
        self.width = config.memory_bits
        super().__init__(
            {
                "beats": In(stream.Signature(code_beat(self.width))),
                "words": Out(stream.Signature(coded_word(self.width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, word = self.beats.p, self.words.p
        flush = Signal()
        room = Signal()
        done = Signal()
        turn = CodingPhase(m, beat.coding, flush)
        whole = turn.ends(lambda bits: bits - 1)
        reserved = beat.coding.as_value()[1:].all()
        m.d.comb += [
            room.eq(~self.words.valid | self.words.ready),
            done.eq(whole | reserved | (turn.trits & turn.when(_releases))),
            self.beats.ready.eq(room & ~flush & done),
        ]
        closing = ~flush & done & beat.last
        more = closing & turn.trits & turn.when(_leaves)
        data = self._word(m, turn, flush)
        with m.If(room):
            m.d.sync += self.words.valid.eq(self.beats.valid | flush)
        with m.If(room & (self.beats.valid | flush)):
            m.d.sync += [
                turn.phase.eq(Mux(flush | whole | (closing & ~more), 0, turn.phase + 1)),
                flush.eq(more),
                word.data.eq(data),
                word.coding.eq(Mux(flush, Coding.TRITS, beat.coding)),
                word.last.eq(flush | (closing & ~more)),
            ]
        return m

    def _word(self, m: Module, turn: CodingPhase, flush: Value) -> Value:
        """The word that the phase calls for."""
        at, dense = turn.at, turn.dense
        quarters = self._quarters(m, turn, flush)
        halves = self._halves(m, turn, quarters)
        eighth = self._planes("eighth", CODE_BITS)
        for n in range(CODE_BITS):
            if n < 4:
                m.d.comb += eighth[n].eq(halves[0][n] | halves[1][n])
            else:
                granules = [self._plane(granule, n) for granule in range(GRANULES)]
                m.d.comb += eighth[n].eq(choose(at, granules))
        codes = self.beats.p.codes
        triples = Cat(codes[code][:3] for code in range(self.width))
        lines = [dense[1], dense[2], dense[4], dense[8], turn.trits, *(dense[3] & at[j] for j in range(3))]
        words = [
            Cat(code[0] for code in codes),
            Cat(_interleaved(quarters[q][:2]) for q in range(4)),
            Cat(_interleaved(halves[h][:4]) for h in range(2)),
            _interleaved(eighth),
            self._bytes(m, turn, flush, quarters),
            *(triples.word_select(j, self.width) for j in range(3)),
        ]
        return choose(lines, words)

    def _quarters(self, m: Module, turn: CodingPhase, flush: Value) -> list[list[Value]]:
        """Bits 0 and 1 of the granules wanted, at most one of each residue modulo 4 but for the last slot."""
        keep = Signal()
        m.d.comb += keep.eq(self.beats.valid & self.beats.ready & turn.trits)
        result: list[list[Value]] = []
        for residue in range(4):
            lines = []
            sources: list[list[Value]] = []
            for granule in (residue, residue + 4):
                fresh = Signal(name=f"fresh_{granule}")
                selected = [turn.dense[bits] & turn.at[bits * granule // GRANULES] for bits in (2, 4, 8)]
                trits = turn.trits & ~flush & turn.when(_fresh(granule))
                m.d.comb += fresh.eq(Cat(selected).any() | trits)
                lines.append(fresh)
                sources.append([self._plane(granule, n) for n in range(TRIT_BITS)])
            late = residue + 4
            kept = self._planes("kept", TRIT_BITS, late, reset_less=True)
            with m.If(keep):
                m.d.sync += [kept[n].eq(self._plane(late, n)) for n in range(TRIT_BITS)]
            lines.append(turn.trits & turn.when(_kept(late)))
            sources.append(kept)
            planes = self._planes("quarter", TRIT_BITS, residue)
            m.d.comb += [
                planes[n].eq(choose(lines, [source[n] for source in sources])) for n in range(TRIT_BITS)
            ]
            result.append(planes)
        return result

    def _halves(self, m: Module, turn: CodingPhase, quarters: list[list[Value]]) -> list[list[Signal]]:
        """Bits 0 to 3 of the even and of the odd granule wanted; one of them is 0 for codes of 8 bits."""
        result: list[list[Signal]] = []
        for half in range(2):
            granules = range(half, GRANULES, 2)
            lines = [(turn.dense[4] & turn.at[g // 2]) | (turn.dense[8] & turn.at[g]) for g in granules]
            planes = self._planes("half", 4, half)
            m.d.comb += [planes[n].eq(quarters[half][n] | quarters[half + 2][n]) for n in (0, 1)]
            m.d.comb += [planes[n].eq(choose(lines, [self._plane(g, n) for g in granules])) for n in (2, 3)]
            result.append(planes)
        return result

    def _bytes(self, m: Module, turn: CodingPhase, flush: Value, quarters: list[list[Value]]) -> Value:
        """Bytes of the five granules of trits wanted."""
        slots = [self._planes("slot", TRIT_BITS, slot) for slot in range(5)]
        for slot in range(4):
            firsts = [(residue - slot) % 4 for residue in range(4)]
            lines = [turn.at[first] | turn.at[first + 4] for first in firsts]
            for n in range(TRIT_BITS):
                m.d.comb += slots[slot][n].eq(choose(lines, [quarters[r][n] for r in range(4)]))
        last = [places(phase)[-1].granule for phase in range(GRANULES)]
        lines = [line & ~flush for line in turn.at]
        for n in range(TRIT_BITS):
            m.d.comb += slots[4][n].eq(choose(lines, [self._plane(g, n) for g in last]))
        digits = [Cat(bits) for planes in slots for bits in zip(*planes, strict=True)]
        return trit_bytes(m, digits, "encoder")

    def _planes(self, name: str, count: int, number: int | None = None, **options: Any) -> list[Signal]:
        """Signals for ``count`` bits of the codes of a granule, one a bit."""
        tail = "" if number is None else f"_{number}"
        size = self.width // GRANULES
        return [Signal(size, name=f"{name}_{n}{tail}", **options) for n in range(count)]

    def _plane(self, granule: int, n: int) -> Value:
        """Bit ``n`` of the codes of a granule at the input."""
        size = self.width // GRANULES
        codes = self.beats.p.codes
        return Cat(codes[code][n] for code in range(granule * size, (granule + 1) * size))


def _interleaved(planes: list[Value]) -> Value:
    """Codes out of the planes of their bits."""
    return Cat(bit for bits in zip(*planes, strict=True) for bit in bits)


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
