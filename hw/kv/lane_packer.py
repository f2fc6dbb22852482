"""KV lane packer: a quantiser's codes, a few a cycle, to words of a page."""

import math

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.numbers.trits import TRITS
from hw.config import Config
from hw.kv.gearbox import CodingPhase
from hw.kv.payloads import CODE_BITS, code_beat, coded_word
from hw.numbers.one_hot import choose
from hw.numbers.trits import TRIT_BITS, trit_bytes

__all__ = ["LanePacker"]


class LanePacker(wiring.Component):
    """Gather beats of n codes in words of W bits; n is ``config.kv.lanes``, W ``config.memory_bits``.

    It means the same as ``Packer`` with narrower beats. Codes meet in a unit of n bytes, which dense codes of
    b bits fill in 8 / b beats (3 bits: three units in eight beats) and trits in five; units go to their
    place in the word. Only trits may end a page within a unit or a word, which is filled up with zeros.

    Throughput: a beat a cycle, sustained, whatever the codings. Latency: 1 cycle from the beat that
    completes a word. ``beats.ready`` is combinational from ``words.ready``: the word is gathered in the
    output register, and to break that path would take a second one.

    Codes must fit their coding: dense codes overwrite nobody but may be cut, a trit of 3 gives an undefined
    byte. Beats of a reserved coding give no word but that of ``last``, which is undefined.

    Members:
        beats (in): the pages' codes.
        words (out): the words, each with the coding of its page.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.width = config.memory_bits
        self.lanes = config.kv.lanes
        super().__init__(
            {
                "beats": In(stream.Signature(code_beat(self.lanes))),
                "words": Out(stream.Signature(coded_word(self.width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, word = self.beats.p, self.words.p
        take = Signal()
        full = Signal()
        push = Signal()
        turn = CodingPhase(
            m, beat.coding
        )  # of the beat in its unit; of codes of 3 bits: in their three units
        thirds = Cat(turn.dense[3] & turn.at[2], turn.dense[3] & turn.at[5])  # beats that straddle two units
        whole = turn.ends(lambda bits: math.lcm(bits, CODE_BITS) // bits - 1)
        ends = whole | (turn.trits & turn.at[TRITS - 1]) | beat.last
        units = self.width // (CODE_BITS * self.lanes)
        number = Signal(exact_log2(units))
        m.d.comb += [
            self.beats.ready.eq(~self.words.valid | self.words.ready),
            take.eq(self.beats.valid & self.beats.ready),
            push.eq(ends | thirds.any()),
            full.eq(push & (beat.last | number.all())),
        ]
        with m.If(take):
            m.d.sync += turn.phase.eq(Mux(ends, 0, turn.phase + 1))
            with m.If(push):
                m.d.sync += number.eq(Mux(beat.last, 0, number + 1))
        with m.If(self.beats.ready):
            m.d.sync += self.words.valid.eq(self.beats.valid & full)
        with m.If(take & full):
            m.d.sync += [word.coding.eq(beat.coding), word.last.eq(beat.last)]

        unit = Signal(CODE_BITS * self.lanes)
        m.d.comb += unit.eq(self._unit(m, turn, take, thirds))
        # The first unit of a word clears the others, so that a short word ends in zeros.
        first = number == 0
        cleared = Mux(first, 0, unit)
        for place in range(units):
            with m.If(take & push & ((number == place) | first)):
                m.d.sync += word.data.word_select(place, len(unit)).eq(unit if place == 0 else cleared)
        return m

    def _unit(self, m: Module, turn: CodingPhase, take: Value, thirds: Value) -> Value:
        """The unit that the beat at the input completes, if it does."""
        lanes, size = self.lanes, CODE_BITS * self.lanes
        at, dense, trits = turn.at, turn.dense, turn.trits
        held = Signal(size, reset_less=True)
        packed = {bits: Cat(code[:bits] for code in self.beats.p.codes) for bits in (1, 2, 3, 4, 8)}

        # Dense codes enter at the top and move down.
        shifts = {count: Cat(held, packed[3])[count * lanes :][:size] for count in (1, 2)}
        lines = [dense[1], dense[2], dense[4], dense[8], thirds[0], thirds[1], dense[3] & ~thirds.any()]
        sources = [Cat(held, packed[bits])[bits * lanes :] for bits in (1, 2, 4, 8)]
        sources += [shifts[2], shifts[1], Cat(held, packed[3])[3 * lanes :]]
        stacked = choose(lines, sources)
        straddling = Cat(stacked[: -2 * lanes], Mux(thirds.any(), packed[3][lanes:], stacked[-2 * lanes :]))

        # Trits stay where they enter; the first ones clear the rest of the unit.
        slot = TRIT_BITS * lanes
        clearing = Mux(at[0], 0, packed[2])
        with m.If(take & (~trits)):
            m.d.sync += held.eq(straddling)
        for place in range(TRITS - 1):
            with m.If(take & trits & (at[place] | at[0])):
                m.d.sync += held.word_select(place, slot).eq(packed[2] if place == 0 else clearing)
        slots = [
            Mux(at[place], packed[2], 0) | Mux(at[0], 0, held.word_select(place, slot))
            for place in range(TRITS - 1)
        ]
        last = Mux(at[TRITS - 1], packed[2], 0)
        digits = Cat(*slots, last)
        trit_values = [digits.word_select(number, TRIT_BITS) for number in range(TRITS * lanes)]
        encoded = trit_bytes(m, trit_values, "encoder")
        return stacked | Mux(trits, encoded, 0)
