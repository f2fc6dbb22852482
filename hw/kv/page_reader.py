"""Page reader: pages of words to their metadata and their codes, a word a cycle.

Meaning: ``golden.kv.pages.PageLayout.unpack``. The format of a page comes from the table that owns the
pages; it says how many words of metadata and of codes to expect. Bad pages neither hang the reader nor reach
the next page: one that ends early is filled up with zeros, what is too much is left out, and a page with an
impossible format is left out as a whole.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.page_shape import code_words, is_legal, metadata_words
from hw.kv.payloads import Coding, coded_word, page_beat, page_format, word
from hw.kv.unpacker import Unpacker

__all__ = ["ERRORS", "PageReader"]

ERRORS = ("error_format", "error_short", "error_long", "error_trits")


class PageSplitter(wiring.Component):
    """Split pages of words into metadata and codes, and right those that are too short or too long.

    A word a cycle, combinational from ``words`` to both streams, with no bubble between pages.

    Members:
        formats, words (in streams): as of ``PageReader``.
        headers, numbers (out streams): as of ``PageReader``.
        codes (out stream): words of codes, ``last`` with the last one that the format wants.
        damaged (out): the page whose last word of codes was taken before was too short or too long.
        error_format, error_short, error_long (out): as of ``PageReader``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = config.memory_bits
        super().__init__(
            {
                "formats": In(stream.Signature(page_format(config))),
                "words": In(stream.Signature(word(width))),
                "headers": Out(stream.Signature(page_format(config))),
                "numbers": Out(stream.Signature(word(width))),
                "codes": Out(stream.Signature(coded_word(width))),
                "damaged": Out(1),
                **dict.fromkeys(ERRORS[:3], Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The format of the next page waits until the present one has ended.
        form = Signal(page_format(self.config), reset_less=True)
        waiting = Signal()
        begins = Signal()
        legal = Signal()
        ends, idle = self._read(m, form, begins, legal)
        m.d.comb += [
            legal.eq(is_legal(form, self.config)),
            begins.eq(waiting & (ends | idle) & (~self.headers.valid | self.headers.ready)),
            self.formats.ready.eq(~waiting | begins),
        ]
        m.d.sync += self.error_format.eq(begins & ~legal)
        with m.If(self.formats.ready):
            m.d.sync += [form.eq(self.formats.payload), waiting.eq(self.formats.valid)]
        with m.If(self.headers.ready):
            m.d.sync += self.headers.valid.eq(0)
        with m.If(begins):
            m.d.sync += [self.headers.payload.eq(form), self.headers.valid.eq(legal)]
        return m

    def _read(self, m: Module, form: data.View, begins: Value, legal: Value) -> tuple[Value, Value]:
        """Take the words of a page; returns whether one ends, and whether none is under way."""
        active = Signal()
        dropping = Signal()  # words of a page that is left out, or too many of one
        filling = Signal()  # zeros for words that are missing
        source = Signal()
        take = Signal()
        leaves = Signal()  # the last word that is dropped
        coding = Signal(Coding, reset_less=True)
        in_metadata, last_code = self._count(m, form, begins, take)
        incoming = self.words.payload
        room = Mux(in_metadata, self.numbers.ready, self.codes.ready)
        missing = incoming.last & ~last_code & ~filling
        excess = ~incoming.last & last_code & ~filling
        m.d.comb += [
            source.eq(active & (filling | self.words.valid)),
            take.eq(source & room),
            leaves.eq(dropping & self.words.valid & incoming.last),
            self.words.ready.eq(dropping | (active & ~filling & room)),
            self.numbers.valid.eq(source & in_metadata),
            self.numbers.payload.data.eq(self.codes.payload.data),
            self.codes.valid.eq(source & ~in_metadata),
            self.codes.payload.data.eq(Mux(filling, 0, incoming.data)),
            self.codes.payload.last.eq(last_code),
            self.codes.payload.coding.eq(coding),
        ]
        m.d.sync += [self.error_short.eq(take & missing), self.error_long.eq(take & excess)]
        with m.If(take & missing):
            m.d.sync += filling.eq(1)
        with m.If(take & last_code):
            m.d.sync += [self.damaged.eq(filling | excess), filling.eq(0), active.eq(0), dropping.eq(excess)]
        with m.If(leaves):
            m.d.sync += dropping.eq(0)
        with m.If(begins):
            m.d.sync += [coding.eq(form.coding), active.eq(legal), dropping.eq(~legal)]
        return (take & last_code & ~excess) | leaves, ~(active | dropping)

    def _count(self, m: Module, form: data.View, begins: Value, take: Value) -> tuple[Value, Value]:
        """Words that are still to come: whether the present one is metadata, and whether it is the last."""
        metadata = metadata_words(form, self.config)
        codes = code_words(m, form, self.config)
        metadata_left = Signal(len(metadata))
        codes_left = Signal.like(codes)
        in_metadata = Signal()
        last_code = Signal()
        m.d.comb += [
            in_metadata.eq(metadata_left != 0),
            last_code.eq(~in_metadata & (codes_left == 1)),
            self.numbers.payload.last.eq(metadata_left == 1),
        ]
        with m.If(take):
            with m.If(in_metadata):
                m.d.sync += metadata_left.eq(metadata_left - 1)
            with m.Else():
                m.d.sync += codes_left.eq(codes_left - 1)
        with m.If(begins):
            m.d.sync += [metadata_left.eq(metadata), codes_left.eq(codes)]
        return in_metadata, last_code


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
        width = config.memory_bits
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
        m.submodules.splitter = splitter = PageSplitter(self.config)
        m.submodules.unpacker = unpacker = Unpacker(self.config)
        connect(m, flipped(self.formats), splitter.formats)
        connect(m, flipped(self.words), splitter.words)
        connect(m, splitter.headers, flipped(self.headers))
        connect(m, splitter.numbers, flipped(self.numbers))
        connect(m, splitter.codes, unpacker.words)
        illegal = Signal()  # of the page so far
        beat = unpacker.beats.payload
        m.d.comb += [
            self.beats.valid.eq(unpacker.beats.valid),
            unpacker.beats.ready.eq(self.beats.ready),
            self.beats.payload.beat.eq(beat),
            self.beats.payload.error.eq(beat.last & (splitter.damaged | illegal | unpacker.error)),
            *(getattr(self, name).eq(getattr(splitter, name)) for name in ERRORS[:3]),
            self.error_trits.eq(unpacker.error),
        ]
        passed = self.beats.valid & self.beats.ready & beat.last
        m.d.sync += illegal.eq((illegal | unpacker.error) & ~passed)
        return m
