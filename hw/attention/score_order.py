"""Score order: scores of several columns, one query after the other."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.payloads import score_beat, score_page
from hw.attention.product_shape import of_columns
from hw.config import Config

__all__ = ["ScoreOrder"]

_PAGES = 2


class ScoreOrder(wiring.Component):
    """Let the columns' scores out in the order of a page's queries; columns whose turn it is not wait.

    Members:
        pages (in stream): pages whose scores come; those whose scores are not wanted pass by.
        scores_0 and so on (in streams): scores of the queries of a column.
        scores (out stream): of all.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config))),
                **dict.fromkeys(of_columns("scores", config), In(stream.Signature(score_beat))),
                "scores": Out(stream.Signature(score_beat)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        page = self.pages.payload
        sources = [getattr(self, name) for name in of_columns("scores", self.config)]
        m.submodules.waiting_pages = pages = SyncFIFO(width=len(page.last_query), depth=_PAGES)
        query = Signal.like(page.last_query)
        column = query[: exact_log2(self.config.columns)]
        there = Signal()
        ends = Signal()
        m.d.comb += [
            pages.w_data.eq(page.last_query),
            pages.w_en.eq(self.pages.valid & page.scores),
            self.pages.ready.eq(pages.w_rdy | ~page.scores),
            there.eq(Array(source.valid for source in sources)[column]),
            self.scores.valid.eq(pages.r_rdy & there),
            self.scores.payload.eq(Array(source.payload.as_value() for source in sources)[column]),
            ends.eq(self.scores.valid & self.scores.ready & self.scores.payload.last),
            pages.r_en.eq(ends & (query == pages.r_data)),
        ]
        for number, source in enumerate(sources):
            m.d.comb += source.ready.eq(pages.r_rdy & self.scores.ready & (column == number))
        with m.If(ends):
            m.d.sync += query.eq(Mux(pages.r_en, 0, query + 1))
        return m
