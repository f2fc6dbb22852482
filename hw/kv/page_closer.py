"""Page closer: the float16 copy of a full window, as words of memory, to the packed page that it becomes.

Meaning: ``golden.kv.window.close``. The copy is read once; between pages nothing stays in the circuit, so it
serves any number of layers, heads and sequences, page by page.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.page_writer import PageWriter
from hw.kv.payloads import HALF_BITS, page_record, word, written_word
from hw.kv.quantiser import FLAGS

__all__ = ["PageCloser"]


class PageCloser(wiring.Component):
    """Close page after page, as fast as ``PageWriter``: ``quantiser.page_cycles``.

    A word is taken every W / (16 ``kv.lanes``) cycles.

    Members:
        formats (in stream): of every page, ahead of its copy, with ``top``.
        copies (in stream): words of copies, tokens in order, ``last`` with a copy's last word.
        words (out stream): the pages, as of ``PageWriter``.
        clamped, error_format, error_short, error_long (out): as of ``PageWriter``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "formats": In(stream.Signature(page_record(config))),
                "copies": In(stream.Signature(word(config.memory_bits))),
                "words": Out(stream.Signature(written_word(config.memory_bits))),
                **dict.fromkeys(FLAGS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.writer = writer = PageWriter(self.config)
        connect(m, flipped(self.formats), writer.formats)
        connect(m, writer.words, flipped(self.words))
        m.d.comb += [getattr(self, flag).eq(getattr(writer, flag)) for flag in FLAGS]

        size = HALF_BITS * self.config.kv.lanes
        count = self.config.memory_bits // size
        held = Signal(self.config.memory_bits, reset_less=True)
        last = Signal(reset_less=True)
        left = Signal(range(count + 1))  # beats
        beat = writer.elements
        m.d.comb += [
            self.copies.ready.eq((left == 0) | ((left == 1) & beat.ready)),
            beat.valid.eq(left != 0),
            Value.cast(beat.payload.elements).eq(held[:size]),
            beat.payload.last.eq(last & (left == 1)),
        ]
        with m.If(beat.valid & beat.ready):
            m.d.sync += [held.eq(held >> size), left.eq(left - 1)]
        with m.If(self.copies.valid & self.copies.ready):
            m.d.sync += [held.eq(self.copies.payload.data), last.eq(self.copies.payload.last), left.eq(count)]
        return m
