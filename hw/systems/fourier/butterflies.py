"""Butterflies: the words of a vector through the stages of its transform, in place.

Words come from a memory and go back to it, one a cycle each: aligned in the first stage, combined with their
opposites ahead of the last one, and always through ``Butterfly``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.kv.fixed_point import UNITS
from hw.kv.payloads import HALF_BITS
from hw.numbers.pipeline import hold
from hw.systems.fourier.block_aligner import BlockAligner
from hw.systems.fourier.butterfly import PART_BITS, Butterfly, complex_word
from hw.systems.fourier.butterfly_walk import TURN_BITS
from hw.systems.fourier.twiddles import Twiddles

__all__ = ["LATENCY", "Butterflies"]

LATENCY = 8
"""Cycles from the address of a butterfly's first word to that of its first result."""


class Butterflies(wiring.Component):
    """Work out a butterfly every two cycles.

    Members:
        latter, opens, packs, turn (in): of the word whose address is at the memory, as of ``ButterflyWalk``.
        word (in): from the memory, a cycle later.
        largest (in): the largest exponent field of its vector, a cycle after the word.
        single, leaves_latter (in): of the word that is written, ``LATENCY`` cycles after its address.
        result (out): the word that is written.
    """

    latter: In(1)
    opens: In(1)
    packs: In(1)
    turn: In(TURN_BITS)
    word: In(complex_word)
    largest: In(range(UNITS + 1))
    single: In(1)
    leaves_latter: In(1)
    result: Out(complex_word)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.twiddles = twiddles = Twiddles()
        m.submodules.butterfly = butterfly = Butterfly()
        latter = _delayed(m, "latter", self.latter, 5)
        opens = _delayed(m, "opens", self.opens, 2)
        packs = _delayed(m, "packs", self.packs, 3)
        turn = _delayed(m, "turn", self.turn, 4)

        word = hold(m, None, "aligned_word", self._aligned(m, hold(m, None, "word", self.word), opens[2]))
        before = hold(m, None, "word_before", word)
        real, imaginary = word[:PART_BITS], word[PART_BITS:]
        first_real, first_imaginary = before[:PART_BITS], before[PART_BITS:]
        # The last stage takes a word plus and minus the conjugate of its opposite.
        addends, factors = [], []
        for name, first, second, opposite in (
            ("real", first_real, real, 0),
            ("imaginary", first_imaginary, imaginary, 1),
        ):
            plus, minus = Signal(PART_BITS, name=f"{name}_plus"), Signal(PART_BITS, name=f"{name}_minus")
            m.d.comb += [plus.eq(first + second), minus.eq(first - second)]
            together, apart = (minus, plus) if opposite else (plus, minus)
            addends.append(hold(m, latter[3], f"{name}_addend", Mux(packs[3], together, first)))
            factor = Mux(packs[3], apart, second)[: PART_BITS - 1]
            factors.append(hold(m, latter[3], f"{name}_number", factor))
        m.d.comb += [
            twiddles.turn.eq(turn[4]),
            twiddles.imaginary.eq(latter[4]),
            butterfly.real_factor.eq(hold(m, None, "real_factor", twiddles.real_factor)),
            butterfly.imaginary_factor.eq(hold(m, None, "imaginary_factor", twiddles.imaginary_factor)),
            butterfly.first.eq(Mux(latter[5], addends[1], addends[0])),
            butterfly.real.eq(factors[0]),
            butterfly.imaginary.eq(factors[1]),
        ]
        self._gather(m, butterfly)
        return m

    def _aligned(self, m: Module, word: data.View, opens: Value) -> Value:
        """Both parts of a word, which are float16 elements in the first stage."""
        parts = []
        for number, part in enumerate((word.real, word.imaginary)):
            aligner = m.submodules[f"aligner_{number}"] = BlockAligner()
            m.d.comb += [aligner.element.eq(part[:HALF_BITS]), aligner.largest.eq(self.largest)]
            parts.append(Mux(opens, aligner.aligned.as_signed(), part.as_signed())[:PART_BITS])
        return Cat(parts)

    def _gather(self, m: Module, butterfly: Butterfly) -> None:
        """Real and imaginary parts to words: the sum, then the difference."""
        sum_before = hold(m, None, "sum", butterfly.sum)
        difference = hold(m, None, "difference", butterfly.difference)
        real_difference = hold(m, None, "real_difference", difference)
        with m.If(self.leaves_latter):
            m.d.comb += [
                self.result.real.eq(real_difference),
                self.result.imaginary.eq(difference),
            ]
        with m.Else():
            # The first two columns are real and share a word.
            m.d.comb += [
                self.result.real.eq(sum_before),
                self.result.imaginary.eq(Mux(self.single, difference, butterfly.sum)),
            ]


def _delayed(m: Module, name: str, value: Value, most: int) -> list[Value]:
    """A value, and what it was a cycle ago, two, and up to so many."""
    values = [value]
    for number in range(1, most + 1):
        values.append(hold(m, None, f"{name}_{number}", values[-1]))
    return values
