"""Code writer: the words of a page's codes as words of dense codes.

Trits become codes of two bits, 0, 1 and 3, which is what the array has for them; codes of one bit get a
second one, which is 0; all others stay as they are.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.trits import TRITS
from hw.attention.payloads import code_page, dense_words
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, Coding, word
from hw.numbers.trits import TRIT_BITS, TritDecoder
from hw.sharing import share

__all__ = ["CodeWriter"]

_PHASES = 4
"""Words of trits that make five of codes of two bits."""


class CodeWriter(wiring.Component):
    """Widen the codes of page after page, a word a cycle.

    A word of trits completes one word of codes, every fourth one two; a word of single bits gives two.

    Members:
        pages (in stream): pages, in the order of their words; taken with the last word.
        words (in stream): words of codes, ``last`` closes a page's.
        dense (out stream): one or two words.
        illegal (out): the word that is taken has an illegal byte of trits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.width = config.memory_bits
        super().__init__(
            {
                "pages": In(stream.Signature(code_page(config))),
                "words": In(stream.Signature(word(self.width))),
                "dense": Out(stream.Signature(dense_words(config))),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        coding, data = self.pages.payload.coding, self.words.payload.data
        of_trits = Signal()
        of_bits = Signal()
        phase = Signal(range(_PHASES))
        ends = Signal()
        taken = Signal()
        decoders = [share(m, f"decoder_{number}", TritDecoder()) for number in range(self.width // 8)]
        digits = [Signal(TRIT_BITS, name=f"digit_{number}") for number in range(TRITS * len(decoders))]
        for number, decoder in enumerate(decoders):
            m.d.comb += decoder.octet.eq(data.word_select(number, 8))
            for place, trit in enumerate(decoder.trits):
                m.d.comb += digits[number * TRITS + place].eq(Cat(trit.any(), trit[1]))
        m.d.comb += [
            of_trits.eq(coding == Coding.TRITS),
            of_bits.eq(coding == Coding.BITS1),
            self.dense.valid.eq(self.words.valid & self.pages.valid),
            self.words.ready.eq(self.dense.ready & self.pages.valid),
            taken.eq(self.words.valid & self.words.ready),
            ends.eq(self.words.payload.last),
            self.pages.ready.eq(taken & ends),
            self.illegal.eq(taken & of_trits & Cat(decoder.illegal for decoder in decoders).any()),
        ]
        with m.If(taken):
            m.d.sync += phase.eq(Mux(ends, 0, phase + 1))
        first, second = self._trits(m, phase, digits, taken)
        bits = [Cat(*(Cat(bit, Const(0, 1)) for bit in half)) for half in _halves(data)]
        out = self.dense.payload
        excess = Signal()
        for count in self._exceeding():
            with m.If(self.pages.payload.channels == count):
                m.d.comb += excess.eq(1)
        m.d.comb += [
            out.words[0].eq(Mux(of_trits, first, Mux(of_bits, bits[0], data))),
            out.words[1].eq(Mux(of_bits, bits[1], second)),
            out.both.eq(of_bits | (of_trits & (phase == _PHASES - 1) & ~(ends & excess))),
            out.last.eq(ends),
        ]
        return m

    def _exceeding(self) -> list[int]:
        """Channels, in times of 16, of pages of trits that are filled up by more than a word of codes.

        Four words of trits hold five of codes of two bits, so that four of codes need all four, too.
        """
        kv = self.config.kv
        unit = kv.page_tokens * SHORTEST_GROUP * TRIT_BITS // self.width
        heads = range(1, kv.channels // SHORTEST_GROUP + 1)
        return [count for count in heads if count * unit % (_PHASES + 1) == _PHASES]

    def _trits(self, m: Module, phase: Value, digits: Sequence[Signal], taken: Value) -> tuple[Value, Value]:
        """The first word that trits complete, and the second one, which there is in the last phase only."""
        half = self.width // TRIT_BITS
        unit = half // _PHASES  # by which a word of trits is longer than one of codes
        parked = [Signal(TRIT_BITS, name=f"parked_{place}", reset_less=True) for place in range(3 * unit)]
        joined: list[list[Value]] = []
        for number in range(_PHASES):
            joined.append([*parked[: number * unit], *digits])
        first = []
        for place in range(half):
            chosen = joined[-1][place]
            for number in reversed(range(_PHASES - 1)):
                chosen = Mux(phase == number, joined[number][place], chosen)
            first.append(chosen)
        for place, kept in enumerate(parked):
            # After phase n there are n + 1 units beyond the word.
            sources = [
                (number, joined[number][half + place])
                for number in range(_PHASES - 1)
                if place < (number + 1) * unit
            ]
            chosen = sources[-1][1]
            for number, source in sources[:-1]:
                chosen = Mux(phase == number, source, chosen)
            with m.If(taken):
                m.d.sync += kept.eq(chosen)
        return Cat(first), Cat(joined[-1][half:])


def _halves(bits: Value) -> tuple[Value, Value]:
    middle = len(bits) // 2
    return bits[:middle], bits[middle:]
