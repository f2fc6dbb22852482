"""Butterflies: the words of a vector through the stages of its transform, in place.

Words come from a memory and go back to it, one a cycle: aligned in the first stage, combined with their
opposites ahead of the last one, and always through ``Butterfly``. Imaginary parts go back a cycle later than
real ones, so that only differences wait.
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

LATENCY = 6
"""Cycles from the address of a butterfly's first word to that of the real part of its first result."""


class Butterflies(wiring.Component):
    """Work out a butterfly every two cycles.

    Members:
        latter, opens, packs, turn (in): of the word whose address is at the memory, as of ``ButterflyWalk``.
        word (in): from the memory, a cycle later.
        largest (in): with it, the largest exponent field of its vector.
        leaves_latter (in): the real part of a second word is written, ``LATENCY`` cycles after its address.
        real (out): that part.
        leaves_difference (in): of the word before, the difference is written, with which the imaginary part
            of a second one comes, and the second one of two real columns that share a word.
        imaginary (out): that part.
    """

    latter: In(1)
    opens: In(1)
    packs: In(1)
    turn: In(TURN_BITS)
    word: In(complex_word)
    largest: In(range(UNITS + 1))
    leaves_latter: In(1)
    real: Out(PART_BITS)
    leaves_difference: In(1)
    imaginary: Out(PART_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.twiddles = twiddles = Twiddles()
        m.submodules.butterfly = butterfly = Butterfly()
        latter = _delayed(m, "latter", self.latter, 4)
        opens = hold(m, None, "opens", self.opens)
        packs = _delayed(m, "packs", self.packs, 2)
        turn = _delayed(m, "turn", self.turn, 3)

        word = hold(m, None, "word", self._aligned(m, self.word, opens))
        before = hold(m, None, "word_before", word)
        real, imaginary = word[:PART_BITS], word[PART_BITS:]
        first_real, first_imaginary = before[:PART_BITS], before[PART_BITS:]
        # The last stage takes half of a word plus and minus the conjugate of its opposite.
        addends, factors = [], []
        for name, first, second, opposite in (
            ("real", first_real, real, 0),
            ("imaginary", first_imaginary, imaginary, 1),
        ):
            plus, minus = (Signal(PART_BITS + 1, name=f"{name}_{kind}") for kind in ("plus", "minus"))
            m.d.comb += [
                plus.eq(first.as_signed() + second.as_signed()),
                minus.eq(first.as_signed() - second.as_signed()),
            ]
            together, apart = (minus[1:], plus[1:]) if opposite else (plus[1:], minus[1:])
            addends.append(hold(m, latter[2], f"{name}_addend", Mux(packs[2], together, first)))
            factor = Mux(packs[2], apart, second)[: PART_BITS - 1]
            factors.append(hold(m, latter[2], f"{name}_number", factor))
        m.d.comb += [
            twiddles.turn.eq(turn[3]),
            twiddles.imaginary.eq(latter[3]),
            butterfly.real_factor.eq(hold(m, None, "real_factor", twiddles.real_factor)),
            butterfly.imaginary_factor.eq(hold(m, None, "imaginary_factor", twiddles.imaginary_factor)),
            butterfly.first.eq(Mux(latter[4], addends[1], addends[0])),
            butterfly.real.eq(factors[0]),
            butterfly.imaginary.eq(factors[1]),
        ]
        difference = hold(m, None, "difference", butterfly.difference)
        m.d.comb += [
            self.real.eq(Mux(self.leaves_latter, difference, butterfly.sum)),
            self.imaginary.eq(Mux(self.leaves_difference, difference, butterfly.sum)),
        ]
        return m

    def _aligned(self, m: Module, word: data.View, opens: Value) -> Value:
        """Both parts of a word, which are float16 elements in the first stage."""
        parts = []
        for number, part in enumerate((word.real, word.imaginary)):
            aligner = m.submodules[f"aligner_{number}"] = BlockAligner()
            m.d.comb += [aligner.element.eq(part[:HALF_BITS]), aligner.largest.eq(self.largest)]
            parts.append(Mux(opens, aligner.aligned.as_signed(), part.as_signed())[:PART_BITS])
        return Cat(parts)


def _delayed(m: Module, name: str, value: Value, most: int) -> list[Value]:
    """A value, and what it was a cycle ago, two, and up to so many."""
    values = [value]
    for number in range(1, most + 1):
        values.append(hold(m, None, f"{name}_{number}", values[-1]))
    return values
