"""The attention engine: pages of keys and values in memory's words, queries in, sums of values out.

Meaning: ``golden.attention.engine``. It works on one KV head at a time, with the array of a tile, page after
page; the queries of the head read a page together.
"""

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.numbers.datatypes import LANE_BITS
from hw import payloads
from hw.attention.code_feed import CodeFeed
from hw.attention.code_memory import CodeMemory
from hw.attention.column import AHEAD
from hw.attention.columns import Columns
from hw.attention.folding import Folding
from hw.attention.number_memory import READERS, NumberMemory
from hw.attention.page_loader import PageLoader
from hw.attention.page_tables import PageTables
from hw.attention.payloads import (
    attention_page,
    divisor,
    query_beat,
    score_beat,
    softmax_state,
    value_sum,
)
from hw.attention.product_shape import of_columns
from hw.attention.query_memory import QueryMemory
from hw.attention.scale_feed import ScaleFeed
from hw.attention.segment_feed import SegmentFeed
from hw.attention.selector_memory import SelectorMemory
from hw.attention.vector_feed import VectorFeed
from hw.config import Config, ConfigurationError
from hw.kv.page_reader import ERRORS
from hw.kv.payloads import Side, word
from hw.payloads import ActivationFormat

__all__ = ["Engine", "check_columns", "members"]

_LISTS = 4
"""Lists whose queries have been read for the last time and whose outputs have not all left."""


def check_columns(config: Config) -> None:
    """Whether the queries of a KV head can be spread over the columns.

    Raises:
        ConfigurationError: they cannot.
    """
    if config.columns not in (1, 2, 4, 8) or 2 * config.columns > config.kv.queries:
        raise ConfigurationError(
            f"columns {config.columns} must be a power of two and at most half of "
            f"kv.queries {config.kv.queries}"
        )


def members(config: Config) -> dict[str, wiring.Member]:
    """Ports of an engine."""
    return {
        "queries": In(stream.Signature(query_beat(config))),
        "pages": In(stream.Signature(attention_page(config))),
        "words": In(stream.Signature(word(config.memory_bits))),
        "beats": Out(stream.Signature(payloads.activation_beat(config))),
        "passes": Out(stream.Signature(payloads.passes)),
        "chunks": Out(stream.Signature(payloads.chunk(config))),
        "scales": Out(stream.Signature(payloads.group_scales(config))),
        "channels": Out(stream.Signature(payloads.channels(config))),
        "results": In(stream.Signature(payloads.result(config))),
        "dots": In(stream.Signature(payloads.column_dots(config))),
        "settled": Out(1),
        **(_table_members() if config.page_tables else {}),
        "divisors": Out(stream.Signature(divisor)),
        "sums": Out(stream.Signature(value_sum)),
        "scores": Out(stream.Signature(score_beat)),
        "found": Out(stream.Signature(softmax_state(config))),
        **dict.fromkeys((*ERRORS, "error_query"), Out(1)),
    }


def _table_members() -> dict[str, wiring.Member]:
    return {"tables": In(stream.Signature(signed(LANE_BITS))), "term_table": Out(payloads.term_table)}


class Engine(wiring.Component):
    """Attend to lists of pages, one after the other.

    A list is what some queries of one KV head see. Its pages come in the order in which the array works on
    them, keys one page or two ahead of values: K0, K1, V0, K2, V1, ... or K0, K1, K2, V0, K3, V1, ..., so
    that a page's weights are worked out while the array multiplies the keys of the next ones. Keys of the
    next lists may come before the last values of this one, as if all their pages were one list.

    With several columns query n is in column ``n % columns``, and so many queries read a page at a time.
    Columns share a page's codes and numbers; softmax and value sums are each column's own.

    Bad pages and bad queries never harm other lists; their own list gives as many sums as it would
    otherwise, with ``error``. A list has the channels of its first page of keys.

    Members:
        queries (in stream): as of ``QueryMemory``.
        pages (in stream): keys or values, in the array's order.
        words (in stream): their words, ``last`` closes a page's.
        beats, passes, chunks, scales, channels (out streams), results, dots (in streams), settled (out): the
            tile's.
        tables (in stream): with ``kv.table``, 16 integers within -127..127 for the codes of keys, that of
            code 0 first, then 16 for those of values. Between lists: taken where every page of keys that was
            taken had its values behind it, once all of these have been worked on; pages wait meanwhile.
        term_table (out): with ``kv.table``, the table of the present chunk.
        divisors, sums (out streams): what each query of a list has found, in their order.
        scores (out stream): scores of the pages where they are wanted, as of ``Softmax``.
        found (out stream): maximum and sum of weights of each query of lists whose scores are wanted.
        error_format, error_short, error_long, error_trits (out): as of ``PageLoader``.
        error_query (out): as of ``QueryMemory``'s error.

    Raises:
        ConfigurationError: columns that queries cannot be spread over.
    """

    def __init__(self, config: Config) -> None:
        self._MustUse__used = True  # Amaranth would warn of a component that is refused here
        check_columns(config)
        self.config = config
        super().__init__(members(config))
        self._MustUse__used = False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.queries = queries = QueryMemory(config)
        m.submodules.vectors = vectors = VectorFeed(config)
        m.submodules.code_feed = codes = CodeFeed(config)
        m.submodules.scale_feed = scales = ScaleFeed(config)
        m.submodules.segment_feed = segments = SegmentFeed(config)
        m.submodules.columns = columns = Columns(config)
        numbers, code_memory, loader = self._load(m, codes)

        connect(m, flipped(self.queries), queries.queries)
        connect(m, numbers.loaded, vectors.pages)
        connect(m, vectors.queries, queries.requests)
        connect(m, queries.operands, vectors.query_beats)
        connect(m, vectors.products, codes.products)
        for reader, feed in zip(READERS, (scales, vectors), strict=True):
            connect(m, feed.requests, getattr(numbers, f"{reader}_requests"))
            connect(m, getattr(numbers, f"{reader}_numbers"), feed.numbers)
        m.d.comb += [
            scales.sent.eq(codes.sent),
            numbers.release.eq(scales.release),
            numbers.released.eq(scales.released),
        ]
        connect(m, code_memory.codes, codes.codes)
        if config.kv.bitmod:
            m.submodules.selectors = selectors = SelectorMemory(config)
            connect(m, loader.selectors, selectors.words)
            connect(m, selectors.chunks, codes.selectors)
        connect(m, codes.scaled, scales.products)
        connect(m, codes.values, segments.products)
        m.submodules.waiting_specials = specials = SyncFIFO(width=config.kv.queries, depth=AHEAD)
        connect(m, queries.specials, specials.w_stream)
        connect(m, specials.r_stream, segments.specials)
        for source, name in ((codes, "passes"), (codes, "chunks"), (scales, "scales"), (scales, "channels")):
            connect(m, getattr(source, name), flipped(getattr(self, name)))
        connect(m, segments.found, flipped(self.found))
        self._mark(m, loader, queries, segments)
        self._fold(m, vectors, columns)
        self._results(m, scales, columns)
        self._attend(m, vectors, codes, segments, columns)
        return m

    def _attend(
        self, m: Module, vectors: VectorFeed, codes: CodeFeed, segments: SegmentFeed, columns: Columns
    ) -> None:
        """Softmax and value sums."""
        connect(m, vectors.score_pages, columns.pages)
        connect(m, vectors.weights, columns.requests)
        connect(m, columns.weights, vectors.weight_beats)
        connect(m, columns.moves, codes.moves)
        connect(m, segments.segments, columns.segments)
        for name in of_columns("states", self.config):
            connect(m, getattr(columns, name), getattr(segments, name))
        for name in of_columns("reads", self.config):
            connect(m, getattr(segments, name), getattr(columns, name))
        connect(m, flipped(self.dots), columns.dots)
        connect(m, columns.scores, flipped(self.scores))
        connect(m, columns.sums, flipped(self.sums))
        m.d.comb += [columns.column.eq(segments.column), self.settled.eq(columns.settled)]

    def _load(self, m: Module, feed: CodeFeed) -> tuple[NumberMemory, CodeMemory, PageLoader]:
        """Pages from words to memories: that of numbers and that of codes."""
        m.submodules.loader = loader = PageLoader(self.config)
        m.submodules.numbers = numbers = NumberMemory(self.config)
        m.submodules.codes = codes = CodeMemory(self.config)
        if self.config.page_tables:
            m.submodules.tables = tables = PageTables(self.config)
            connect(m, flipped(self.tables), tables.values)
            connect(m, flipped(self.pages), tables.pages)
            connect(m, tables.passed, loader.pages)
            m.d.comb += [
                tables.sent.eq(feed.sent),
                tables.side.eq(feed.side),
                loader.loaded.eq(tables.loaded),
                self.term_table.eq(tables.terms),
            ]
        else:
            connect(m, flipped(self.pages), loader.pages)
        connect(m, flipped(self.words), loader.words)
        connect(m, loader.number_pages, numbers.pages)
        connect(m, loader.numbers, numbers.numbers)
        connect(m, loader.code_pages, codes.pages)
        connect(m, loader.dense, codes.dense)
        m.d.comb += [getattr(self, name).eq(getattr(loader, name)) for name in ERRORS]
        return numbers, codes, loader

    def _mark(self, m: Module, loader: PageLoader, queries: QueryMemory, segments: SegmentFeed) -> None:
        """Divisors with what is known of their list, which is there long before them."""
        m.submodules.waiting_damaged = damaged = SyncFIFO(width=1, depth=_LISTS)
        connect(m, queries.damaged, damaged.w_stream)
        mark, out, found = loader.marks.payload, self.divisors, segments.divisors
        query = Signal.like(mark.last_query)
        taken = Signal()
        list_ends = Signal()
        m.d.comb += [
            self.error_query.eq(queries.error),
            out.payload.eq(found.payload),
            out.payload.error.eq(mark.error | damaged.r_data),
            out.valid.eq(found.valid),
            found.ready.eq(out.ready),
            taken.eq(out.valid & out.ready),
            list_ends.eq(taken & (query == mark.last_query)),
            loader.marks.ready.eq(list_ends),
            damaged.r_en.eq(list_ends),
        ]
        with m.If(taken):
            m.d.sync += query.eq(Mux(list_ends, 0, query + 1))

    def _fold(self, m: Module, vectors: VectorFeed, columns: Columns) -> None:
        """Folded vectors to the tile, their offset terms to the columns."""
        config = self.config
        m.submodules.folding = folding = Folding(config)
        connect(m, vectors.beats, folding.beats)
        beat, out = vectors.beats, Signal(payloads.activation_beat(config), name="folded_beat")
        about = data.StructLayout({"halvings": payloads.HALVING_BITS, "side": Side})
        vector = Signal(about)
        folded = Signal(about)
        opening = Signal(init=1)
        m.submodules.vectors_under_way = under_way = SyncFIFO(width=about.size, depth=4)
        m.submodules.terms_under_way = sides = SyncFIFO(width=1, depth=2)
        # Between the aligner's room and the halting of all lanes, whose cause is a register.
        m.submodules.waiting_beats = beats = SyncFIFO(width=Shape.cast(out.shape()).width, depth=3)
        connect(m, beats.r_stream, flipped(self.beats))
        room = Signal(init=1)
        m.d.sync += room.eq(beats.w_level + (folding.folded.valid & room) < beats.depth)
        accepted = beat.valid & beat.ready
        ends = Signal()
        with m.If(accepted):
            m.d.sync += opening.eq(beat.payload.last)
        m.d.comb += [
            vector.halvings.eq(vectors.halvings),
            vector.side.eq(beat.payload.side),
            folded.eq(under_way.r_data),
            under_way.w_data.eq(vector),
            under_way.w_en.eq(accepted & opening),
            folding.folded.ready.eq(room),
            beats.w_en.eq(folding.folded.valid & room),
            beats.w_data.eq(out),
            out.elements.eq(folding.folded.payload.elements),
            out.last.eq(folding.folded.payload.last),
            out.format.eq(ActivationFormat.BF16),
            out.halvings.eq(folded.halvings),
            ends.eq(folding.folded.valid & room & out.last),
            under_way.r_en.eq(ends),
            sides.w_data.eq(folded.side),
            sides.w_en.eq(ends),
        ]
        # A term waits in a register, or its taker's room would halt all lanes in the same cycle.
        term = Signal.like(folding.terms.payload, name="waiting_term", reset_less=True)
        waits = Signal(name="waiting_term_valid")
        m.d.comb += [
            columns.terms.payload.terms.eq(term),
            columns.terms.payload.side.eq(sides.r_data),
            columns.terms.valid.eq(waits & sides.r_rdy),
            sides.r_en.eq(columns.terms.valid & columns.terms.ready),
            folding.terms.ready.eq(~waits),
        ]
        with m.If(~waits):
            m.d.sync += [waits.eq(folding.terms.valid), term.eq(folding.terms.payload)]
        with m.Elif(sides.r_en):
            m.d.sync += waits.eq(0)

    def _results(self, m: Module, scales: ScaleFeed, columns: Columns) -> None:
        """Results of the array, and whose they are."""
        takers = scales.takers
        m.d.comb += [
            columns.results.payload.result.eq(self.results.payload),
            columns.results.payload.side.eq(takers.payload),
            columns.results.valid.eq(self.results.valid & takers.valid),
            self.results.ready.eq(columns.results.ready & takers.valid),
            takers.ready.eq(self.results.valid & self.results.ready & self.results.payload.last),
        ]
