"""Number beats: 16-bit numbers as beats of codes, so that one packer serves metadata and codes."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.payloads import HALF_BITS, Coding, code_beat

__all__ = ["NumberBeats"]


class NumberBeats(wiring.Component):
    """16-bit numbers as beats of ``kv.lanes`` codes of 8 bits, low byte first.

    Members:
        numbers (in stream): they come in even counts where a beat holds several.
        beats (out stream): never the last one of a page.
        busy (out): a beat waits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "numbers": In(stream.Signature(HALF_BITS)),
                "beats": Out(stream.Signature(code_beat(config.kv.lanes))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.config.kv.lanes
        held = max(lanes // 2, 1)  # numbers
        kept = Signal(HALF_BITS * held, reset_less=True)
        steps = held if lanes > 1 else 2
        filled = Signal(range(held + 1))
        beat = Signal()  # of the two that a number takes with one lane
        m.d.comb += [
            self.beats.valid.eq(filled == held),
            self.busy.eq(filled != 0),
            self.numbers.ready.eq(filled != held),
            self.beats.payload.coding.eq(Coding.BITS8),
        ]
        with m.If(self.numbers.valid & self.numbers.ready):
            m.d.sync += [kept.eq(Cat(kept, self.numbers.payload)[HALF_BITS:]), filled.eq(filled + 1)]
        if lanes > 1:
            m.d.comb += Value.cast(self.beats.payload.codes).eq(kept)
            with m.If(self.beats.valid & self.beats.ready):
                m.d.sync += filled.eq(0)
        else:
            m.d.comb += Value.cast(self.beats.payload.codes).eq(kept.word_select(beat, HALF_BITS // steps))
            with m.If(self.beats.valid & self.beats.ready):
                m.d.sync += [beat.eq(~beat), filled.eq(~beat)]
        return m
