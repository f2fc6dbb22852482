"""Page loader: pages from words to the memories of their numbers and codes, and which lists are damaged."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.attention.code_writer import CodeWriter
from hw.attention.page_admission import LISTS, PageAdmission, admitted_page
from hw.attention.payloads import attention_page, code_page, dense_words, selector_word, turn_of
from hw.config import Config
from hw.kv.page_reader import ERRORS, PageSplitter
from hw.kv.page_shape import field_words
from hw.kv.payloads import Side, word

__all__ = ["PageLoader", "list_mark"]

_PAGES = 4
"""Pages between their first word and the last chunk of their codes."""
_MARKS = 4
"""Lists whose pages were read and whose outputs have not all left."""


def list_mark(config: Config) -> data.StructLayout:
    """A list of queries 0 to ``last_query``; ``error``: a page of it was refused or damaged."""
    return data.StructLayout({"error": 1, "last_query": range(config.kv.queries)})


class PageLoader(wiring.Component):
    """Load page after page, a word a cycle.

    A bad page is read all the same, as ``PageSplitter`` and ``PageAdmission`` make it; its list is marked.

    Members:
        pages, words (in streams): as of ``Engine``.
        number_pages, numbers (out streams): for ``NumberMemory``.
        code_pages, dense (out streams): for ``CodeMemory``.
        selectors (out stream): for ``SelectorMemory``; with ``kv.bitmod``.
        loaded (in): as of ``PageAdmission``; with ``kv.table``.
        marks (out stream): one a list, once its last page of values has been read.
        error_format, error_short, error_long, error_trits (out): one cycle for a page that is refused, for
            one that is not and has fewer or more words than its format says, and for a word with an illegal
            byte of trits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(attention_page(config))),
                "words": In(stream.Signature(word(config.memory_bits))),
                "number_pages": Out(stream.Signature(attention_page(config))),
                "numbers": Out(stream.Signature(word(config.memory_bits))),
                "code_pages": Out(stream.Signature(code_page(config))),
                "dense": Out(stream.Signature(dense_words(config))),
                **({"selectors": Out(stream.Signature(selector_word(config)))} if config.kv.bitmod else {}),
                **({"loaded": In(1)} if config.page_tables else {}),
                "marks": Out(stream.Signature(list_mark(config))),
                **dict.fromkeys(ERRORS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.admission = admission = PageAdmission(config)
        m.submodules.splitter = splitter = PageSplitter(config)
        m.submodules.writer = writer = CodeWriter(config)
        shape, about = admitted_page(config), code_page(config)
        m.submodules.waiting_pages = pages = SyncFIFO(width=shape.size, depth=2)
        m.submodules.written_pages = written = SyncFIFO(width=about.size, depth=2)
        m.submodules.replayed_pages = replayed = SyncFIFO(width=about.size, depth=_PAGES)
        connect(m, flipped(self.pages), admission.pages)
        if config.page_tables:
            m.d.comb += admission.loaded.eq(self.loaded)
        admitted = admission.admitted
        m.d.comb += [
            splitter.formats.payload.eq(admitted.payload.page.form),
            splitter.formats.valid.eq(admitted.valid & pages.w_rdy),
            admitted.ready.eq(splitter.formats.ready & pages.w_rdy),
            pages.w_data.eq(admitted.payload),
            pages.w_en.eq(admitted.valid & splitter.formats.ready),
        ]
        connect(m, flipped(self.words), splitter.words)

        # A page's header comes before its words, and is kept until the next one's.
        coming = Signal(shape)
        reading = Signal(shape, reset_less=True)
        form = coming.page.form
        codes_of = Signal(about)
        begun = Signal()
        begins = Signal()
        room = Signal()
        m.d.comb += [
            coming.eq(pages.r_data),
            self.number_pages.payload.eq(reading.page),
            self.number_pages.valid.eq(begun),
            splitter.headers.ready.eq(~begun & written.w_rdy & replayed.w_rdy & pages.r_rdy & room),
            begins.eq(splitter.headers.valid & splitter.headers.ready),
            pages.r_en.eq(begins),
            codes_of.coding.eq(form.coding),
            codes_of.side.eq(form.side),
            codes_of.channels.eq(form.channels),
            codes_of.last_turn.eq(turn_of(coming.page.last_query, config)),
        ]
        for fifo, taker in ((written, writer.pages), (replayed, self.code_pages)):
            m.d.comb += [
                fifo.w_data.eq(codes_of),
                fifo.w_en.eq(begins),
                taker.payload.eq(fifo.r_data),
                taker.valid.eq(fifo.r_rdy),
                fifo.r_en.eq(taker.ready),
            ]
        with m.If(begins):
            m.d.sync += [begun.eq(1), reading.eq(coming)]
        with m.If(self.number_pages.ready & begun):
            m.d.sync += begun.eq(0)
        if config.kv.bitmod:
            m.d.comb += codes_of.bitmod.eq(form.bitmod)
            self._select(m, splitter, reading.page)
        else:
            connect(m, splitter.numbers, flipped(self.numbers))
        m.d.comb += [
            writer.words.payload.data.eq(splitter.codes.payload.data),
            writer.words.payload.last.eq(splitter.codes.payload.last),
            writer.words.valid.eq(splitter.codes.valid),
            splitter.codes.ready.eq(writer.words.ready),
        ]
        connect(m, writer.dense, flipped(self.dense))
        m.d.comb += self.error_format.eq(admission.error_format)
        self._mark(m, splitter, writer, reading, room)
        return m

    def _select(self, m: Module, splitter: PageSplitter, page: data.View) -> None:
        """Numbers; those of BitMoD's pages that follow the scales are selectors, and go to both memories."""
        numbers, out = splitter.numbers, self.selectors.payload
        place = Signal(len(field_words(page.form, self.config)) + 1)
        selects = Signal()
        m.d.comb += [
            selects.eq(page.form.bitmod & (place >= field_words(page.form, self.config))),
            self.numbers.payload.eq(numbers.payload),
            self.numbers.valid.eq(numbers.valid & (~selects | self.selectors.ready)),
            self.selectors.valid.eq(numbers.valid & selects & self.numbers.ready),
            numbers.ready.eq(self.numbers.ready & (~selects | self.selectors.ready)),
            out.data.eq(numbers.payload.data),
            out.last.eq(numbers.payload.last),
            *(out.page[name].eq(page.form[name]) for name in ("side", "axis", "group", "channels")),
            out.page.last_turn.eq(turn_of(page.last_query, self.config)),
        ]
        with m.If(numbers.valid & numbers.ready):
            m.d.sync += place.eq(Mux(numbers.payload.last, 0, place + 1))

    def _mark(
        self,
        m: Module,
        splitter: PageSplitter,
        writer: CodeWriter,
        page: data.View,
        room: Signal,
    ) -> None:
        """Gather what is wrong with the pages of a list.

        A page's errors show a cycle after its words, and the next one begins later than that.
        """
        mark = Signal(list_mark(self.config))
        m.submodules.waiting_marks = marks = SyncFIFO(width=mark.shape().size, depth=_MARKS)
        ended = Signal()
        illegal = Signal()
        damaged = Signal(LISTS)
        m.d.sync += [
            ended.eq(writer.pages.valid & writer.pages.ready),
            illegal.eq(writer.illegal | (illegal & ~ended)),
            self.error_trits.eq(writer.illegal),
        ]
        closes = page.page.closes & (page.page.form.side == Side.VALUE)
        own = damaged.bit_select(page.number, 1)
        m.d.comb += [
            mark.error.eq(own | page.refused | splitter.damaged | illegal),
            mark.last_query.eq(page.page.last_query),
            marks.w_data.eq(mark),
            marks.w_en.eq(ended & closes),
            room.eq(marks.w_level < _MARKS - 1),  # that of the page before may not be there yet
            self.error_short.eq(splitter.error_short & ~page.refused),
            self.error_long.eq(splitter.error_long & ~page.refused),
        ]
        connect(m, marks.r_stream, flipped(self.marks))
        with m.If(ended):
            m.d.sync += own.eq(mark.error & ~closes)
