"""Butterfly walk: which words of a vector a butterfly takes, or leaves, one after the other.

A stage pairs words whose places differ in its own bit. The other bits are walked through with the next
stage's bit first, so that a stage's first butterflies need only the first ones of the stage before: stages
follow one another without waiting for the last words, although every word goes through a pipeline.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.systems.vidkv.real_fft import LENGTHS

__all__ = ["STAGES", "TURN_BITS", "WORDS", "ButterflyWalk"]

WORDS = LENGTHS[-1] // 2
STAGES = (WORDS - 1).bit_length()
TURN_BITS = STAGES + 1


class ButterflyWalk(wiring.Component):
    """Two cycles a butterfly: its first word, then its second one.

    After the stages of the transform comes the one that packs columns, which pairs word k with word -k, from
    k = 0 to the middle; its first butterfly has one word, its last one the same word twice.

    Members:
        long (in): the vector has 64 elements, else 32; constant from the first to the last word.
        advance (in): go on to the next word.
        address (out): of the word.
        latter (out): it is the second one.
        opens (out): of the first stage.
        packs (out): of the last stage, which packs columns.
        single (out): and of its first butterfly.
        turn (out): by which the second word is turned back, in 64ths of a turn, 0 to 32.
        waits (out): the first word of the last stage, which needs the last ones of the stage before.
        last (out): of all.
    """

    long: In(1)
    advance: In(1)
    address: Out(STAGES)
    latter: Out(1)
    opens: Out(1)
    packs: Out(1)
    single: Out(1)
    turn: Out(TURN_BITS)
    waits: Out(1)
    last: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stage = Signal(range(STAGES + 1))
        slot = Signal(STAGES)
        ends = Signal()
        final = Signal(STAGES)
        opposite = Signal(STAGES)
        m.d.comb += [
            self.opens.eq(stage == 0),
            self.packs.eq(stage == STAGES),
            self.single.eq(self.packs & (slot == 0)),
            self.waits.eq(self.single & ~self.latter),
            final.eq(Mux(self.long, WORDS // 2, WORDS // 4) - ~self.packs),
            ends.eq(self.latter & (slot == final)),
            self.last.eq(self.packs & ends),
            opposite.eq(-slot),
        ]
        with m.If(self.packs):
            whole = Mux(self.long, opposite, opposite[:-1])
            m.d.comb += [
                self.address.eq(Mux(self.latter, whole, slot)),
                self.turn.eq(Mux(self.long, slot, slot << 1) + WORDS // 2),
            ]
        with m.Else():
            self._pair(m, stage, Cat(self.latter, slot[:-1]))
        with m.If(self.advance):
            m.d.sync += [self.latter.eq(~self.latter), slot.eq(slot + self.latter)]
            with m.If(ends):
                m.d.sync += slot.eq(0)
                with m.If(self.packs):
                    m.d.sync += stage.eq(0)
                with m.Elif(~self.long & (stage == STAGES - 2)):
                    m.d.sync += stage.eq(STAGES)
                with m.Else():
                    m.d.sync += stage.eq(stage + 1)
        return m

    def _pair(self, m: Module, stage: Value, order: Value) -> None:
        """Turn the bits of the order into those of the place; those below the stage's own say the angle."""
        with m.Switch(stage):
            for number in range(STAGES):
                with m.Case(number):
                    long, short = (
                        Cat(order[(place - number) % bits] for place in range(bits))
                        for bits in (STAGES, STAGES - 1)
                    )
                    m.d.comb += self.address.eq(Mux(self.long, long, short))
                    if number:
                        m.d.comb += self.turn.eq(Cat(Const(0, STAGES - number), self.address[:number]))
