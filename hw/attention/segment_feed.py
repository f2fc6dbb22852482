"""Segment feed: what is added to the value sums, page after page, and their division at the end."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw.attention.payloads import (
    TOP_BITS,
    Access,
    column_state,
    divisor,
    softmax_state,
    turn_of,
    value_product,
    value_read,
    value_segments,
)
from hw.attention.product_shape import blocks_of, is_folded, of_columns
from hw.config import Config
from hw.kv.page_shape import channels

__all__ = ["SegmentFeed"]

_FINISHED = 2
"""Lists whose sums are still to be read; more have no place among the sums."""
_OF_COLUMNS = ("states", "reads")


class SegmentFeed(wiring.Component):
    """A segment for each product of values; after those of a list's last page, its sums are read.

    The next lists' segments follow meanwhile. Lists of at most ``config.kv.queries / 2`` queries lie in
    halves of the sums in turn, so that only the list after the next one has to wait before its first segment;
    a list with more queries, and the one after it, wait until all is read.

    Each column has the sums and states of its own queries; those of queries that the last turn of a list
    lacks are left out.

    Members:
        products (in stream): of values.
        states (in stream): what the queries of a list have found, query by query; one for each column.
        specials (in stream): which queries of a list had NaN or infinity; taken with its last product.
        segments (out stream): to the value sums of all columns.
        reads (out stream): to the value sums, query by query; one for each column.
        column (out): whose read has been offered last.
        divisors (out stream): to the division, one for each query that is read.
        found (out stream): the states of lists whose scores are wanted.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "products": In(stream.Signature(value_product(config))),
                **dict.fromkeys(of_columns("states", config), In(stream.Signature(column_state(config)))),
                "specials": In(stream.Signature(config.kv.queries)),
                "segments": Out(stream.Signature(value_segments(config))),
                **dict.fromkeys(of_columns("reads", config), Out(stream.Signature(value_read(config)))),
                "column": Out(range(config.columns)),
                "divisors": Out(stream.Signature(divisor)),
                "found": Out(stream.Signature(softmax_state(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = self._list_layout()
        m.submodules.finished = finished = SyncFIFO(width=layout.size, depth=_FINISHED)
        oldest = Signal(layout)
        m.d.comb += oldest.eq(finished.r_data)
        self._add(m, finished, oldest)
        self._read(m, finished, oldest)
        return m

    def _list_layout(self) -> data.StructLayout:
        """A list whose products are complete."""
        config = self.config
        return data.StructLayout(
            {
                "last_query": range(config.kv.queries),
                "half": 1,
                "blocks": bits_for(config.kv.channels // config.rows),
                "top": TOP_BITS,
                "specials": config.kv.queries,
                "scores": 1,
            }
        )

    def _place(self, turn: Value, last_query: Value, half: Value) -> Value:
        """Where a query's sums lie."""
        return Cat(turn[:-1], Mux(last_query[-1], turn[-1], half))

    def _add(self, m: Module, finished: SyncFIFO, oldest: data.View) -> None:
        """Products to segments."""
        config = self.config
        coming = self.products.payload.product
        page = coming.page
        segment = self.segments.payload
        ended = Signal(self._list_layout())
        half = Signal()
        closes = Signal()
        goes = Signal()
        apart = ~page.last_query[-1] & ~oldest.last_query[-1] & (finished.w_level == 1)
        m.d.comb += [
            segment.access.eq(Mux(is_folded(page.form), Access.DOTS, Access.RESULTS)),
            segment.query.eq(self._place(coming.turn, page.last_query, half)),
            segment.blocks.eq(blocks_of(page.form, config)),
            segment.block.eq(coming.part * blocks_of(page.form, config)),
            segment.moved.eq(self.products.payload.moved),
            segment.fresh.eq(page.opens),
            segment.top.eq(page.top),
            closes.eq(coming.last & page.closes),
            goes.eq(
                (~page.opens | (finished.w_level == 0) | apart)
                & (~closes | (finished.w_rdy & self.specials.valid))
            ),
            self.segments.valid.eq(self.products.valid & goes),
            self.products.ready.eq(self.segments.ready & goes),
            self.specials.ready.eq(self.segments.valid & self.segments.ready & closes),
            ended.last_query.eq(page.last_query),
            ended.half.eq(half),
            ended.blocks.eq(channels(page.form) >> exact_log2(config.rows)),
            ended.top.eq(page.top),
            ended.specials.eq(self.specials.payload),
            ended.scores.eq(page.scores),
            finished.w_data.eq(ended),
            finished.w_en.eq(self.specials.ready),
        ]
        with m.If(finished.w_en):
            m.d.sync += half.eq(~half)

    def _read(self, m: Module, finished: SyncFIFO, oldest: data.View) -> None:
        """Query by query of the oldest list, each with its divisor and its state."""
        config = self.config
        query = Signal.like(oldest.last_query)
        turn, column = turn_of(query, config), query[: exact_log2(config.columns)]
        states, reads = ([getattr(self, name) for name in of_columns(name, config)] for name in _OF_COLUMNS)
        state = Signal(column_state(config))
        read_ready = Signal()
        outputs = {"reads": read_ready, "divisors": self.divisors.ready, "found": self.found.ready}
        offers = {name: Signal(name=f"offers_{name}") for name in outputs}
        done = {name: Signal(name=f"{name}_done") for name in outputs}
        there = Signal()
        read = Signal()
        exists = Signal()
        m.d.comb += [
            state.eq(Array(one.payload.as_value() for one in states)[column]),
            there.eq(finished.r_rdy & Array(one.valid for one in states)[column]),
            exists.eq(query <= oldest.last_query),
            self.column.eq(column),
            read_ready.eq(Array(one.ready for one in reads)[column]),
            self.divisors.valid.eq(offers["divisors"]),
            self.divisors.payload.maximum.eq(state.maximum),
            self.divisors.payload.total.eq(state.total),
            self.divisors.payload.top.eq(oldest.top),
            self.divisors.payload.special.eq(oldest.specials.bit_select(query, 1)),
            self.found.valid.eq(offers["found"]),
            self.found.payload.query.eq(query),
            self.found.payload.maximum.eq(state.maximum),
            self.found.payload.total.eq(state.total),
            read.eq(Cat(done.values()).all()),
            finished.r_en.eq(read & (turn == turn_of(oldest.last_query, config)) & column.all()),
        ]
        for number, (source, target) in enumerate(zip(states, reads, strict=True)):
            m.d.comb += [
                source.ready.eq(read & (column == number)),
                target.valid.eq(offers["reads"] & (column == number)),
                target.payload.query.eq(self._place(turn, oldest.last_query, oldest.half)),
                target.payload.blocks.eq(oldest.blocks),
            ]
        for name, ready in outputs.items():
            told = Signal(name=f"{name}_told")
            wanted = exists & oldest.scores if name == "found" else exists
            m.d.comb += [
                offers[name].eq(there & wanted & ~told),
                done[name].eq(there & (told | ~wanted | ready)),
            ]
            m.d.sync += told.eq(done[name] & ~read)
        with m.If(read):
            m.d.sync += query.eq(Mux(finished.r_en, 0, query + 1))
