"""Weight sum: the sum of weights of one query after the other."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import TOTAL_FRACTION
from hw.attention.payloads import TOTAL_BITS
from hw.config import Config

__all__ = ["WeightSum"]


class WeightSum(wiring.Component):
    """Add a weight a cycle, and to each query's weights once what has been kept of those before.

    Members:
        opens, closes (in): a weight comes that is the first, the last of its query.
        query (in): its query.
        fresh, stays (in): the cycle after ``opens``: nothing has been kept, or it has been loaded.
        share, carry (in): of the weight a cycle before, or 0, in units of 2^-32.
        loads (in): the sum becomes the kept one.
        shifts (in): move the sum down by a place; what is shifted out last is rounded to nearest, ties up.
        asks (out): the kept sum is wanted, until it is found.
        found, kept (in): it is there.
        settles (out): the cycle after ``closes``.
        keeps, kept_query, total (out): two cycles after ``closes``: the sum with the query's last weight.
    """

    def __init__(self, config: Config) -> None:
        query = range(config.kv.queries)
        super().__init__(
            {
                "opens": In(1),
                "closes": In(1),
                "query": In(query),
                "fresh": In(1),
                "stays": In(1),
                "share": In(TOTAL_FRACTION + 1),
                "carry": In(1),
                "loads": In(1),
                "shifts": In(1),
                "asks": Out(1),
                "found": In(1),
                "kept": In(TOTAL_BITS),
                "settles": Out(1),
                "keeps": Out(1),
                "kept_query": Out(query),
                "total": Out(TOTAL_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(TOTAL_BITS, name="held_total", reset_less=True)
        before = Signal(TOTAL_BITS)
        added = Signal(TOTAL_BITS)
        opened = Signal()
        lacks = Signal()  # what has been kept
        dropped = Signal()
        restarts = self.loads | (opened & (self.fresh | ~self.stays))
        m.d.sync += [
            opened.eq(self.opens),
            self.settles.eq(self.closes),
            self.keeps.eq(self.settles),
            dropped.eq(self.shifts & total[0]),
            total.eq(Mux(self.shifts, total[1:], before + self.share + added + (self.carry | dropped))),
        ]
        m.d.comb += [
            before.eq(total & ~restarts.replicate(TOTAL_BITS)),
            added.eq(self.kept & self.found.replicate(TOTAL_BITS)),
            self.asks.eq((lacks | (self.loads & ~self.keeps)) & ~self.found),
            self.total.eq(total),
        ]
        with m.If(self.found):
            m.d.sync += lacks.eq(0)
        with m.If(opened):
            m.d.sync += [lacks.eq(~self.fresh & ~self.stays), self.kept_query.eq(self.query)]
        return m
