"""Segment feed: what happens to the value sums, page after page, and their division at the end."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.payloads import Access, divisor, softmax_state, value_product, value_segment
from hw.attention.product_shape import blocks_of, is_folded
from hw.config import Config
from hw.kv.page_shape import channels

__all__ = ["SegmentFeed"]


class SegmentFeed(wiring.Component):
    """A segment for each product of values; after those of a list's last page, one a query to be read.

    Members:
        products (in stream): of values.
        states (in stream): what the queries of a list have found, query by query.
        specials (in stream): which queries of a list had NaN or infinity; taken with the last one's state.
        segments (out stream): to the value sums.
        divisors (out stream): to the division, one for each query that is read.
        found (out stream): the states of lists whose scores are wanted.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "products": In(stream.Signature(value_product(config))),
                "states": In(stream.Signature(softmax_state(config))),
                "specials": In(stream.Signature(config.kv.queries)),
                "segments": Out(stream.Signature(value_segment(config))),
                "divisors": Out(stream.Signature(divisor)),
                "found": Out(stream.Signature(softmax_state(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        coming = self.products.payload.product
        page = coming.page
        segment = self.segments.payload
        reading = Signal()
        query = Signal(range(config.kv.queries))
        outputs = {"segments": self.segments, "divisors": self.divisors, "found": self.found}
        told = {name: Signal(name=f"{name}_told") for name in outputs}
        done = {name: Signal(name=f"{name}_done") for name in outputs}
        read = Signal()
        folded = is_folded(page.form)
        blocks = Mux(reading, channels(page.form) >> exact_log2(config.rows), blocks_of(page.form, config))
        closes = coming.last & page.closes
        m.d.comb += [
            segment.access.eq(Mux(reading, Access.READ, Mux(folded, Access.DOTS, Access.RESULTS))),
            segment.query.eq(Mux(reading, query, coming.query)),
            segment.blocks.eq(blocks),
            segment.block.eq(Mux(reading, 0, coming.part * blocks_of(page.form, config))),
            segment.moved.eq(self.products.payload.moved),
            segment.fresh.eq(page.opens),
            segment.top.eq(page.top),
            self.segments.valid.eq(
                self.products.valid & (~reading | (self.states.valid & ~told["segments"]))
            ),
            self.divisors.payload.total.eq(self.states.payload.total),
            self.divisors.payload.top.eq(page.top),
            self.divisors.payload.special.eq(self.specials.payload.bit_select(query, 1)),
            self.divisors.valid.eq(reading & self.states.valid & self.specials.valid & ~told["divisors"]),
            self.found.payload.eq(self.states.payload),
            self.found.valid.eq(reading & self.states.valid & page.scores & ~told["found"]),
            *(done[name].eq(told[name] | (target.valid & target.ready)) for name, target in outputs.items()),
            read.eq(reading & done["segments"] & done["divisors"] & (done["found"] | ~page.scores)),
            self.states.ready.eq(read),
            self.specials.ready.eq(read & (query == page.last_query)),
            self.products.ready.eq(Mux(reading, self.specials.ready, self.segments.ready & ~closes)),
        ]
        with m.If(reading):
            m.d.sync += [told[name].eq(done[name] & ~read) for name in outputs]
        with m.If(read):
            m.d.sync += query.eq(query + 1)
        with m.If(self.specials.ready):
            m.d.sync += [reading.eq(0), query.eq(0)]
        with m.If(~reading & closes & self.segments.valid & self.segments.ready):
            m.d.sync += reading.eq(1)
        return m
