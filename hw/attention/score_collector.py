"""Score collector: results of the array become scores, with the maximum of each query's."""

from contextlib import nullcontext

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.attention.widths import LOWEST, SCORE_FRACTION
from hw import payloads
from hw.attention import score_converter
from hw.attention.payloads import (
    MAXIMUM_BITS,
    MOST_MOVED,
    SCORE_BITS,
    offset_term,
    score_page,
    scored_query,
)
from hw.attention.score_converter import HALF_SCORE, ScoreConverter
from hw.attention.score_memory import stored_score
from hw.config import Config
from hw.numbers.pipeline import hold

__all__ = ["LATENCY", "ScoreCollector"]

LATENCY = score_converter.LATENCY + 3
"""Cycles from a query's last result to the query."""


_READ_DELAY = score_converter.EARLIER_DELAY - 1
"""Cycles from a result to the memory's answer; a register is between that and the converter."""


class ScoreCollector(wiring.Component):
    """Take a result a cycle while there is room for its score.

    Scores of a page that continues are not given: they wait for those of the next page, to which they are
    added. There is always room for them.

    Args:
        columns: of the array; these are the scores of one of them.

    Members:
        pages (in stream): a page, taken with its last result.
        results (in stream): its results, float32 rows in the order (query, group of tokens, token), every
            group of at least 16 tokens; ``last`` closes a vector, one query's tokens of a group. Whether
            they are marked as damaged is not looked at.
        terms (in stream): the offset term of every vector, 0 where keys are by token.
        read_place (in): place of the next score that is read, in the memory of scores; there is room for one
            less than two queries' scores.
        waits (in): in ``score_converter.LATENCY`` cycles no score of an odd place may come.
        present, score (out): a score, ``score_converter.LATENCY`` cycles after its result.
        asks (out), found, kept (in): the maximum that has been kept of the query, until it is found.
        queries (out stream): a query whose scores of a page are all there, ``LATENCY`` cycles after its last
            result, later if the maximum has to wait. It is taken before its first score is read.
    """

    converter = ScoreConverter  # a proof has one that gives any scores

    def __init__(self, config: Config, columns: int = 1) -> None:
        self.config, self.columns = config, columns
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config, columns))),
                "results": In(stream.Signature(payloads.result(config))),
                "terms": In(stream.Signature(offset_term)),
                "read_place": In(range(2 * config.kv.page_tokens)),
                "waits": In(1),
                "present": Out(1),
                "score": Out(stored_score),
                "asks": Out(1),
                "found": In(1),
                "kept": In(signed(MAXIMUM_BITS)),
                "queries": Out(stream.Signature(scored_query(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        splits = self.config.kv.split_keys
        m.submodules.converter = converter = self.converter(splits)
        place = Signal.like(self.read_place)  # of the score of the result that is taken
        room = Signal()
        take = Signal()
        valid = Signal()
        query = Signal(range(self.config.kv.queries))
        lacks = Signal()
        page, token = self.pages.p, place[:-1]
        last = Signal(signed(len(page.last) + 1))
        m.d.comb += [
            room.eq(((place + 1)[: len(place)] != self.read_place) & ~(self.waits & place[0])),
            last.eq(page.last + ((query << exact_log2(self.columns)) & page.causal)),
            lacks.eq(self._lacks(query)),
            valid.eq((page.first <= token) & (token <= last) & ~lacks),
        ]
        with m.If(take):
            m.d.sync += place.eq(place + 1)
        present: Value = take
        ends: Value = take & token.all()
        if splits:
            stays = take & page.continues
            with m.If(page.continues):
                m.d.comb += room.eq(1)
            with m.If(stays & token.all()):
                m.d.sync += place.eq(Cat(Const(0, len(token)), place[-1]))
            self._add(m, converter, take, stays, Cat(token, query))
            present, ends = take & ~page.continues, ends & ~page.continues
        self._take(m, converter, query, room, take, token.all())

        for stage in range(score_converter.LATENCY):
            present = hold(m, None, f"present_{stage}", present, reset=True)
            ends = hold(m, None, f"ends_{stage}", ends, reset=True)
            valid = hold(m, None, f"valid_{stage}", valid)
        m.d.comb += [
            self.present.eq(present),
            self.score.score.eq(converter.score),
            self.score.valid.eq(valid),
        ]
        self._raise(m, converter.score, present & valid, ends)
        return m

    def _lacks(self, query: Value) -> Value:
        """Whether there is no such query."""
        page = self.pages.p
        return page.lacks & (query == page.last_query) if self.columns > 1 else Const(0)

    def _add(self, m: Module, converter: ScoreConverter, take: Value, stays: Value, place: Value) -> None:
        """Scores of pages that continue to memory, and from there to those of the next page.

        They have been there for long: a page has at least as many results as the shortest page has tokens.
        """
        follows = Signal()
        with m.If(self.pages.valid & self.pages.ready):
            m.d.sync += follows.eq(self.pages.p.continues)
        m.submodules.earlier = storage = memory.Memory(
            shape=signed(SCORE_BITS), depth=1 << len(place), init=[]
        )
        read = storage.read_port()
        write = storage.write_port()
        wanted: Value = take & follows
        for stage in range(_READ_DELAY):
            wanted = hold(m, None, f"wanted_{stage}", wanted)
        places = [place]
        for stage in range(score_converter.LATENCY):
            places.append(hold(m, None, f"place_{stage}", places[-1]))
            stays = hold(m, None, f"stays_{stage}", stays, reset=True)
        earlier = Mux(wanted, read.data, 0)
        m.d.comb += [
            read.addr.eq(places[_READ_DELAY - 1]),
            converter.earlier.eq(hold(m, None, "earlier", earlier)),
            write.addr.eq(places[-1]),
            write.data.eq(converter.score),
            write.en.eq(stays),
        ]

    def _take(
        self, m: Module, converter: ScoreConverter, query: Signal, room: Value, take: Value, ends: Value
    ) -> None:
        """Results row by row into the converter, and what is known of a query when it ends."""
        units = self.config.rescale_units
        unit = Signal(range(units))
        opening = Signal(init=1)
        opened = Signal()
        beat_ends = unit == units - 1
        m.d.comb += [
            take.eq(self.results.valid & self.pages.valid & room & (~opening | self.terms.valid)),
            self.results.ready.eq(take & beat_ends),
            converter.result.eq(Cat(row[0] for row in self.results.p.rows).word_select(unit, 32)),
        ]
        m.d.sync += opened.eq(take & opening)
        with m.If(take):
            m.d.sync += [
                unit.eq(Mux(beat_ends, 0, unit + 1)),
                opening.eq(beat_ends & self.results.p.last),
            ]

        # A vector has so many results that its term is taken long before the next one is looked for.
        term = Signal(offset_term, reset_less=True)
        m.d.comb += [self.terms.ready.eq(opened), converter.term.eq(term)]
        with m.If(opened):
            m.d.sync += term.eq(self.terms.p + HALF_SCORE)

        # Of the query before at least one score has been read: there was room for this one's last.
        page = self.pages.p
        page_ends = Signal()
        m.d.comb += [page_ends.eq(query == page.last_query), self.pages.ready.eq(take & ends & page_ends)]
        with m.If(take & ends):
            m.d.sync += query.eq(Mux(page_ends, 0, query + 1))
            with m.If(~page.continues) if self.config.kv.split_keys else nullcontext():
                m.d.sync += [
                    self.queries.p.query.eq(query),
                    self.queries.p.last.eq(page_ends),
                    self.queries.p.opens.eq(page.opens),
                    self.queries.p.closes.eq(page.closes),
                    self.queries.p.scores.eq(page.scores & ~self._lacks(query)),
                ]

    def _raise(self, m: Module, score: Value, counts: Value, ends: Value) -> None:
        """The largest of a query's valid scores, rounded up, and the running maximum with it.

        Rounding up keeps the order of integer parts, and of the presence of a fraction.
        """
        lowest = LOWEST << 1
        largest = Signal(signed(MAXIMUM_BITS + 1), init=lowest)
        before = Signal.like(largest)
        own = Signal.like(largest)
        ended = Signal()
        m.d.sync += ended.eq(ends)
        m.d.comb += [
            before.eq(Mux(ended, lowest, largest)),
            own.eq(Cat(score[:SCORE_FRACTION].any(), score[SCORE_FRACTION:])),
        ]
        m.d.sync += largest.eq(Mux(counts & (own > before), own, before))

        query = self.queries
        asking = Signal()
        standing = Signal(signed(MAXIMUM_BITS))
        above = Signal(signed(MAXIMUM_BITS + 1))
        m.d.comb += [
            self.asks.eq(ended | asking & ~self.found),
            standing.eq(Mux(query.p.opens, LOWEST, self.kept)),
            above.eq(query.p.maximum - standing),
        ]
        m.d.sync += asking.eq(self.asks)
        below = above[-1]
        with m.If(query.ready):
            m.d.sync += query.valid.eq(0)
        with m.If(ended):
            m.d.sync += query.p.maximum.eq(largest[1:].as_signed() + largest[0])
        with m.If(self.found):
            far = above > MOST_MOVED
            m.d.sync += [
                query.valid.eq(1),
                query.p.places.eq(Mux(below, 0, Mux(far, MOST_MOVED, above[: len(query.p.places)]))),
            ]
            with m.If(below):
                m.d.sync += query.p.maximum.eq(standing)
