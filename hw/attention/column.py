"""Column: what a token column of the array has by itself, of attention: softmax and value sums.

A column keeps its own pace. What comes to all columns waits here in queues, so that one whose maxima move
holds up the others only in the end.
"""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from hw import payloads
from hw.attention.payloads import (
    MOVED_BITS,
    offset_term,
    offset_terms,
    score_beat,
    score_page,
    softmax_state,
    turns,
    value_read,
    value_segment,
    value_sum,
    weight_beat,
    weight_request,
)
from hw.attention.softmax import Softmax
from hw.attention.value_sums import ValueSums
from hw.attention.vector_feed import VECTORS_UNDER_WAY
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, Side

__all__ = ["AHEAD", "Column", "column_config", "column_result", "column_term"]

AHEAD = 2
"""Lists whose keys may be ahead of their values."""


def column_config(config: Config) -> Config:
    """Configuration of one of the array's columns by itself."""
    if config.columns == 1:
        return config
    return config.changed(columns=1, kv=config.kv.model_copy(update={"queries": turns(config)}))


def column_term(config: Config) -> data.StructLayout:
    """Offset terms of keys or values."""
    return data.StructLayout({"terms": offset_terms(config), "side": Side})


def column_result(config: Config) -> data.StructLayout:
    """Results of keys or values."""
    return data.StructLayout({"result": payloads.result(config), "side": Side})


class Column(wiring.Component):
    """Softmax and value sums of a column's queries, with what waits for them.

    Keys give up to ``rescale_units`` results a cycle, but none while the array works on values; softmax takes
    one a cycle all the time. There is room for a page's, since softmax may have to wait for values that come
    behind this page.

    Members:
        pages (in stream), scores, weights (out streams), requests (in stream): as of ``Softmax``.
        results (in stream): of both sides, each to whoever takes it.
        terms (in stream): likewise.
        moves, states (out streams): as of ``Softmax``; there is room for those of all lists that are ahead.
        segments, reads, dots (in streams), sums (out stream), settled (out): as of ``ValueSums``.
    """

    def __init__(self, config: Config, columns: int) -> None:
        self.config, self.columns = config, columns
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config, columns))),
                "results": In(stream.Signature(column_result(config))),
                "terms": In(stream.Signature(column_term(config))),
                "moves": Out(stream.Signature(MOVED_BITS)),
                "scores": Out(stream.Signature(score_beat)),
                "states": Out(stream.Signature(softmax_state(config))),
                "requests": In(stream.Signature(weight_request(config))),
                "weights": Out(stream.Signature(weight_beat(config))),
                "segments": In(stream.Signature(value_segment(config))),
                "reads": In(stream.Signature(value_read(config))),
                "dots": In(stream.Signature(payloads.value_dots(config))),
                "sums": Out(stream.Signature(value_sum)),
                "settled": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.softmax = softmax = Softmax(config, self.columns)
        m.submodules.value_sums = sums = ValueSums(config)
        for name in ("pages", "requests"):
            connect(m, flipped(getattr(self, name)), getattr(softmax, name))
        for name in ("scores", "weights"):
            connect(m, getattr(softmax, name), flipped(getattr(self, name)))
        for name in ("segments", "reads", "dots"):
            connect(m, flipped(getattr(self, name)), getattr(sums, name))
        connect(m, sums.sums, flipped(self.sums))
        m.d.comb += self.settled.eq(sums.settled)

        depth = AHEAD * config.kv.queries
        moves = self._queue(m, "moves", MOVED_BITS, depth)
        states = self._queue(m, "states", softmax_state(config), depth)
        m.d.comb += [
            moves.w_data.eq(softmax.moves.payload.places),
            moves.w_en.eq(softmax.moves.valid),
            softmax.moves.ready.eq(moves.w_rdy),
        ]
        connect(m, moves.r_stream, flipped(self.moves))
        connect(m, softmax.states, states.w_stream)
        connect(m, states.r_stream, flipped(self.states))
        self._terms(m, softmax, sums)
        self._results(m, softmax, sums)
        return m

    def _queue(self, m: Module, name: str, shape: ShapeLike, depth: int) -> SyncFIFO:
        m.submodules[f"waiting_{name}"] = fifo = SyncFIFO(width=Shape.cast(shape).width, depth=depth)
        return fifo

    def _terms(self, m: Module, softmax: Softmax, sums: ValueSums) -> None:
        # Keys of a page whose results wait for softmax have their terms waiting, too.
        waiting = self.config.kv.queries * self.config.kv.page_tokens // SHORTEST_GROUP
        coming = self.terms.payload
        fifos = {}
        for side, taker, more in ((Side.KEY, softmax, waiting), (Side.VALUE, sums, 0)):
            fifo = self._queue(m, f"{side.name.lower()}_terms", offset_term, VECTORS_UNDER_WAY + more)
            fifos[side] = fifo
            m.d.comb += [
                fifo.w_data.eq(coming.terms[0]),
                fifo.w_en.eq(self.terms.valid & (coming.side == side)),
            ]
            connect(m, fifo.r_stream, taker.terms)
        of_value = coming.side == Side.VALUE
        m.d.comb += self.terms.ready.eq(Mux(of_value, fifos[Side.VALUE].w_rdy, fifos[Side.KEY].w_rdy))

    def _results(self, m: Module, softmax: Softmax, sums: ValueSums) -> None:
        config, kv = self.config, self.config.kv
        result = self.results.payload.result
        shape = data.StructLayout({"rows": result.rows.shape(), "last": 1})
        depth = kv.queries * kv.page_tokens // config.rescale_units
        m.submodules.waiting_results = waiting = SyncFIFOBuffered(width=shape.size, depth=depth)
        coming = Signal(shape)
        oldest = Signal(shape)
        of_value = Signal()
        m.d.comb += [
            of_value.eq(self.results.payload.side == Side.VALUE),
            coming.rows.eq(result.rows),
            coming.last.eq(result.last),
            oldest.eq(waiting.r_data),
            waiting.w_data.eq(coming),
            waiting.w_en.eq(self.results.valid & ~of_value),
            waiting.r_en.eq(softmax.results.ready),
            softmax.results.valid.eq(waiting.r_rdy),
            softmax.results.payload.rows.eq(oldest.rows),
            softmax.results.payload.count.eq(config.rescale_units),
            softmax.results.payload.last.eq(oldest.last),
            sums.results.payload.eq(result),
            sums.results.valid.eq(self.results.valid & of_value),
            self.results.ready.eq(Mux(of_value, sums.results.ready, waiting.w_rdy)),
        ]
