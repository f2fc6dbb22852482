"""Realigner: fields of any whole number of granules out of a stream of words."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw import payloads
from hw.config import Config

__all__ = ["Realigner", "extra_granules", "granule_bits", "window_bits"]

_EXTRA = 24
"""Granules of scales that can be read beside codes: fp16 scales with 8-bit zeros just fit."""


def extra_granules(config: Config) -> int:
    """Granules of the window beyond one word."""
    return min(_EXTRA, config.word_bits // config.rows)


def granule_bits(config: Config) -> int:
    """Width of a number of granules, up to a word."""
    return exact_log2(config.word_bits // config.rows) + 1


def window_bits(config: Config) -> int:
    """Width of the window."""
    return config.word_bits + extra_granules(config) * config.rows


class Realigner(wiring.Component):
    """Show the next bits of a packet and consume whole granules of ``rows`` bits, a word or more a cycle.

    The previous word and the one at the input, shifted right by the granules already consumed, make the
    window; this is the only wide shifter of the unpacker. ``words.ready``, ``available`` and ``window`` are
    combinational: a word is accepted in the cycle in which the last granule before it is consumed. After an
    empty cycle (reset, end of a packet, no word in time) one cycle loads the previous word.

    Beyond the packet's ``last`` word the window continues with zeros for as long as the packet is not
    finished. Words after the packet's structure, or after a refused header, are dropped up to ``last``, one a
    cycle.

    Members:
        words (in): the packets.
        granules (in): number of granules wanted, 1..word_bits / rows.
        more (in): number of granules that are welcome, at most ``extra_granules(config)`` more than wanted.
        whole (out): the two words hold all that are welcome; otherwise only the wanted ones are meant.
        window (out): the wanted granules, first one lowest; what lies above them is undefined.
        available (out): the window holds all of them.
        take (in): consume them; only while ``available``.
        finish (in): with ``take``: they are the packet's last ones.
        drop (in): give the rest of the packet up; not together with ``take``.
        missing (out): some wanted granules lie beyond the packet's ``last`` word and read as zero.
        surplus (out): in the cycle of ``take`` and ``finish``: more words follow, they are dropped.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(payloads.word(config))),
                "granules": In(granule_bits(config)),
                "more": In(granule_bits(config) + 1),
                "whole": Out(1),
                "window": Out(window_bits(config)),
                "available": Out(1),
                "take": In(1),
                "finish": In(1),
                "drop": In(1),
                "missing": Out(1),
                "surplus": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.words
        previous = Signal(self.config.word_bits, reset_less=True)
        offset = Signal(granule_bits(self.config) - 1)
        filled = Signal()
        closed = Signal()  # the previous word is the packet's last one, the word at the input not part of it
        beyond = Signal()
        draining = Signal()

        incoming = Signal(self.config.word_bits)
        m.d.comb += incoming.eq(Mux(closed, 0, words.p.data))
        m.d.comb += self.window.eq(_shifted(Cat(previous, incoming), offset, self.config))

        end = Signal(len(offset) + 1)
        farther = Signal(len(offset) + 2)
        moves = end[-1]
        crosses = Signal()
        ended = Signal()
        m.d.comb += [
            farther.eq(offset + self.more),
            self.whole.eq(~farther[-1]),
            end.eq(Mux(self.whole, farther, offset + self.granules)),
            crosses.eq(moves & end[:-1].any()),
            ended.eq(closed | (crosses & words.p.last)),
            self.available.eq(filled & ~draining & (~crosses | closed | words.valid)),
            self.missing.eq(beyond | (crosses & closed)),
            self.surplus.eq(self.take & self.finish & ~ended),
        ]

        with m.If(draining):
            m.d.comb += words.ready.eq(1)
            m.d.sync += draining.eq(~(words.valid & words.p.last))
        with m.Elif(self.drop | (self.take & self.finish)):
            m.d.comb += words.ready.eq(self.take & crosses & ~closed)
            m.d.sync += draining.eq(Mux(self.take, ~ended, ~(filled & closed)))
            m.d.sync += [filled.eq(0), closed.eq(0), beyond.eq(0)]
        with m.Elif(self.take & moves):
            m.d.comb += words.ready.eq(~closed)
            m.d.sync += [previous.eq(incoming), offset.eq(end), beyond.eq(closed)]
            m.d.sync += [filled.eq(closed | words.valid), closed.eq(closed | (words.valid & words.p.last))]
        with m.Elif(self.take):
            m.d.sync += offset.eq(end)
        with m.Elif(~filled):
            m.d.comb += words.ready.eq(1)
            m.d.sync += [previous.eq(incoming), offset.eq(0)]
            m.d.sync += [filled.eq(words.valid), closed.eq(words.valid & words.p.last)]
        return m


def _shifted(pair: Value, offset: Signal, config: Config) -> Value:
    """The window: ``pair`` shifted right by ``offset`` granules, widest step first.

    Each stage keeps only the bits that the later stages can still reach.
    """
    for stage in reversed(range(len(offset))):
        step = config.rows << stage
        kept = window_bits(config) + step - config.rows
        pair = Mux(offset[stage], pair[step : step + kept], pair[:kept])
    return pair
