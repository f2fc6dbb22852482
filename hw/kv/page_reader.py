"""Page reader: pages of words to their metadata and their codes, a word a cycle.

Meaning: ``golden.kv.pages.PageLayout.unpack``. The format of a page comes from the table that owns the
pages; it says how many words of metadata and of codes to expect. Bad pages neither hang the reader nor reach
the next page: one that ends early is filled up with zeros, what is too much is left out, and a page with an
impossible format is left out as a whole.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.page_shape import code_words, is_legal, metadata_words
from hw.kv.payloads import Coding, page_beat, page_format, word
from hw.kv.unpacker import Unpacker

__all__ = ["ERRORS", "PageReader"]

ERRORS = ("error_format", "error_short", "error_long", "error_trits")


class PageReader(wiring.Component):
    """Read page after page.

    Throughput: a word a cycle, with no bubble between pages while formats wait at the input. Latency: 1 cycle
    from the word that completes a beat of codes; metadata passes straight through, since what wants it writes
    it to a memory.

    Members:
        formats (in stream): of every page, ahead of its words.
        words (in stream): pages, ``last`` with a page's last word.
        headers (out stream): formats of the pages that are read.
        numbers (out stream): words of scales, then of minima; ``last`` with the last one.
        beats (out stream): the codes.
        error_format, error_short, error_long, error_trits (out): one cycle for a page with an impossible
            format, one with fewer or more words than its format says, and for a word with an illegal byte.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = config.kv.word_bits
        super().__init__(
            {
                "formats": In(stream.Signature(page_format(config))),
                "words": In(stream.Signature(word(width))),
                "headers": Out(stream.Signature(page_format(config))),
                "numbers": Out(stream.Signature(word(width))),
                "beats": Out(stream.Signature(page_beat(config))),
                **dict.fromkeys(ERRORS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.unpacker = unpacker = Unpacker(config)

        # The format of the next page, with its counts, waits until the present one has ended.
        form = Signal(page_format(config), reset_less=True)
        waiting = Signal()
        numbers, codes = metadata_words(form, config), code_words(m, form, config)
        legal = is_legal(form, config)

        metadata_left, codes_left = Signal(len(numbers)), Signal.like(codes)
        coding = Signal(Coding, reset_less=True)
        active, dropping, filling = Signal(), Signal(), Signal()
        source, room, take, ends, begin = (
            Signal(name=n) for n in ("source", "room", "take", "ends", "begin")
        )
        in_metadata, metadata_ends, final = Signal(), Signal(), Signal()
        incoming = self.words.payload
        m.d.comb += [
            in_metadata.eq(metadata_left != 0),
            metadata_ends.eq(metadata_left == 1),
            final.eq(~in_metadata & (codes_left == 1)),
            source.eq(active & (filling | self.words.valid)),
            room.eq(Mux(in_metadata, self.numbers.ready, unpacker.words.ready)),
            self.numbers.valid.eq(source & in_metadata),
            self.numbers.payload.data.eq(unpacker.words.payload.data),
            self.numbers.payload.last.eq(metadata_ends),
            take.eq(source & room),
            self.words.ready.eq(dropping | (active & ~filling & room)),
            begin.eq(waiting & (ends | ~(active | dropping)) & (~self.headers.valid | self.headers.ready)),
            self.formats.ready.eq(~waiting | begin),
            unpacker.words.valid.eq(source & ~in_metadata),
            unpacker.words.payload.data.eq(Mux(filling, 0, incoming.data)),
            unpacker.words.payload.last.eq(final),
            unpacker.words.payload.coding.eq(coding),
        ]
        missing = incoming.last & ~final & ~filling
        excess = ~incoming.last & final & ~filling
        leaves = Signal()  # the last word of a page that is left out, or of what is too much of one
        m.d.comb += [
            leaves.eq(dropping & self.words.valid & incoming.last),
            ends.eq((take & final & ~excess) | leaves),
        ]

        damaged, illegal = Signal(), Signal()
        m.d.sync += [self.error_short.eq(take & missing), self.error_long.eq(take & excess)]
        m.d.sync += self.error_format.eq(begin & ~legal)
        with m.If(take):
            with m.If(in_metadata):
                m.d.sync += metadata_left.eq(metadata_left - 1)
            with m.Else():
                m.d.sync += codes_left.eq(codes_left - 1)
            with m.If(missing):
                m.d.sync += filling.eq(1)
            with m.If(final):
                m.d.sync += [damaged.eq(filling | excess), filling.eq(0), active.eq(0), dropping.eq(excess)]
        with m.If(leaves):
            m.d.sync += dropping.eq(0)
        with m.If(begin):
            m.d.sync += [
                coding.eq(form.coding),
                metadata_left.eq(numbers),
                codes_left.eq(codes),
                active.eq(legal),
                dropping.eq(~legal),
            ]
        with m.If(self.formats.ready):
            m.d.sync += [form.eq(self.formats.payload), waiting.eq(self.formats.valid)]

        with m.If(self.headers.ready):
            m.d.sync += self.headers.valid.eq(0)
        with m.If(begin):
            m.d.sync += [self.headers.payload.eq(form), self.headers.valid.eq(legal)]
        beat = unpacker.beats.payload
        m.d.comb += [
            self.beats.valid.eq(unpacker.beats.valid),
            unpacker.beats.ready.eq(self.beats.ready),
            self.beats.payload.beat.eq(beat),
            self.beats.payload.error.eq(beat.last & (damaged | illegal | unpacker.error)),
            self.error_trits.eq(unpacker.error),
        ]
        passed = self.beats.valid & self.beats.ready & beat.last
        m.d.sync += illegal.eq((illegal | unpacker.error) & ~passed)
        return m
