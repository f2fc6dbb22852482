"""Softmax: results of the array to scores, and scores to weights, page after page.

Meaning: ``golden.attention.scores`` from the array's results on, ``golden.attention.softmax`` and the maximum
and the sum of weights of ``golden.attention.engine.step``.
"""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw import payloads
from hw.attention import score_collector, weight_unit
from hw.attention.payloads import (
    MAXIMUM_BITS,
    MOVED_BITS,
    maximum_move,
    offset_term,
    score_beat,
    score_page,
    softmax_state,
    weight_beat,
    weight_request,
)
from hw.attention.score_collector import ScoreCollector
from hw.attention.score_memory import ScoreMemory
from hw.attention.weight_memory import WeightMemory
from hw.attention.weight_sum import WeightSum
from hw.attention.weight_unit import WeightUnit
from hw.config import Config

__all__ = ["CLOSE_CYCLES", "LATENCY", "MOVE_CYCLES", "Softmax"]

LATENCY = score_collector.LATENCY
"""Cycles from a query's last result to its move, if nothing is before it."""
_SETTLE_CYCLES = weight_unit.LATENCY + 3
"""Cycles from the last score to the sum of weights with it."""
MOVE_CYCLES = _SETTLE_CYCLES + 2
"""Cycles more for a query whose maximum moves, beside one a place."""
CLOSE_CYCLES = _SETTLE_CYCLES - 1
"""Cycles more for each query of the last page."""


class _Phase(enum.Enum, shape=2):
    """What happens to the query that comes next while the weights of the one before are made."""

    MOVE = 0
    LOAD = 1
    SHIFT = 2
    READY = 3


class Softmax(wiring.Component):
    """Weigh the tokens of each query, a page at a time, a token a cycle.

    Query follows query without a gap. Where a maximum moves that is not the first of its query, the sum of
    weights is shifted before: ``MOVE_CYCLES`` and one a place; each query of the last page is followed by
    ``CLOSE_CYCLES``. Results are taken, a row a cycle, until almost two queries' scores wait: because moves,
    scores or states are not taken, or the weights of two pages are there. So the moves of a page have to be
    taken before the weights of the page before are asked for, if the array works on its keys sooner.

    Args:
        columns: of the array; this softmax is that of one of them.

    Members:
        pages (in stream): the pages, in order, each taken with its last result.
        results (in stream), terms (in stream): as of ``ScoreCollector``.
        moves (out stream): moves of the maxima, query by query of every page, each before its weights.
        scores (out stream): scores of pages where they are wanted, query by query, those of invalid tokens
            too; they halt the weights.
        states (out stream): what the queries have found, after their last page; they halt the next query.
        requests (in stream), weights (out stream): as of ``WeightMemory``; the first request of a page waits
            for all its weights.
    """

    def __init__(self, config: Config, columns: int = 1) -> None:
        self.config, self.columns = config, columns
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config, columns))),
                "results": In(stream.Signature(payloads.result(config))),
                "terms": In(stream.Signature(offset_term)),
                "moves": Out(stream.Signature(maximum_move(config))),
                "scores": Out(stream.Signature(score_beat)),
                "states": Out(stream.Signature(softmax_state(config))),
                "requests": In(stream.Signature(weight_request(config))),
                "weights": Out(stream.Signature(weight_beat(config))),
            }
        )
        self.phase = Signal(_Phase)
        self.query = Signal(range(config.kv.queries), reset_less=True)
        self.maximum = Signal(signed(MAXIMUM_BITS), reset_less=True)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.collector = collector = ScoreCollector(self.config, self.columns)
        m.submodules.score_memory = scores = ScoreMemory(self.config)
        m.submodules.unit = unit = WeightUnit()
        m.submodules.weight_memory = weights = WeightMemory(self.config)
        m.submodules.weight_sum = total = WeightSum(self.config)
        for name in ("pages", "results", "terms"):
            connect(m, flipped(getattr(self, name)), getattr(collector, name))
        connect(m, flipped(self.requests), weights.requests)
        connect(m, weights.weights, flipped(self.weights))

        following = collector.queries
        starts = Signal()
        reading = Signal()
        adding = Signal()
        settled = Signal()  # the sum of weights is complete
        m.d.sync += adding.eq(reading | (adding & ~total.settles))
        m.d.comb += settled.eq(~reading & ~adding)
        self._remember(m, collector, scores, total)
        free = self._state(m, following.p, total, starts, settled)
        known = self._prepare(m, following, scores, total, starts, settled & free)
        advance = self._weigh(m, collector, scores, unit, starts, reading)
        m.d.comb += [
            starts.eq(
                (self.phase == _Phase.READY)
                & ~reading
                & advance
                & free
                & known
                & (weights.room | (following.p.query != 0))
            ),
            weights.page_begins.eq(starts & (following.p.query == 0)),
        ]
        self._add(m, following.p, unit, weights, total, starts)
        return m

    def _remember(self, m: Module, collector: ScoreCollector, scores: ScoreMemory, total: WeightSum) -> None:
        """Scores, maxima and sums of weights to memory and from there."""
        m.d.comb += [
            scores.present.eq(collector.present),
            scores.coming.eq(collector.score),
            collector.read_place.eq(scores.place),
            scores.asks_maximum.eq(collector.asks),
            collector.found.eq(scores.finds_maximum),
            collector.kept.eq(scores.found_maximum),
            scores.maximum_query.eq(collector.queries.p.query),
            scores.maximum.eq(collector.queries.p.maximum),
            scores.asks_total.eq(total.asks),
            scores.asked_query.eq(total.query),
            total.found.eq(scores.finds_total),
            total.kept.eq(scores.found_total),
            scores.keeps_total.eq(total.keeps),
            scores.total_query.eq(total.kept_query),
            scores.total.eq(total.total),
        ]

    def _prepare(
        self,
        m: Module,
        following: stream.Interface,
        scores: ScoreMemory,
        total: WeightSum,
        starts: Value,
        idle: Value,
    ) -> Value:
        """The query that comes next, from phase to phase.

        Returns:
            Whether its maximum is in memory.
        """
        known = Signal()
        places = Signal(MOVED_BITS, reset_less=True)
        moves = following.p.places.any() & ~following.p.opens
        m.d.comb += [
            self.moves.p.query.eq(following.p.query),
            self.moves.p.places.eq(following.p.places),
            self.moves.valid.eq(following.valid & (self.phase == _Phase.MOVE)),
            following.ready.eq(starts),
            scores.keeps_maximum.eq(following.valid & ~known),
            total.loads.eq((self.phase == _Phase.LOAD) & idle),
            total.shifts.eq(self.phase == _Phase.SHIFT),
        ]
        m.d.sync += known.eq((known | scores.kept) & ~starts)
        with m.Switch(self.phase):
            with m.Case(_Phase.MOVE):
                m.d.sync += places.eq(following.p.places)
                with m.If(self.moves.valid & self.moves.ready):
                    m.d.sync += self.phase.eq(Mux(moves, _Phase.LOAD, _Phase.READY))
            with m.Case(_Phase.LOAD), m.If(idle & total.found):
                m.d.sync += self.phase.eq(_Phase.SHIFT)
            with m.Case(_Phase.SHIFT):
                m.d.sync += places.eq(places - 1)
                with m.If(places == 1):
                    m.d.sync += self.phase.eq(_Phase.READY)
            with m.Case(_Phase.READY), m.If(starts):
                m.d.sync += self.phase.eq(_Phase.MOVE)
        return known | scores.kept

    def _state(
        self, m: Module, following: data.View, total: WeightSum, starts: Value, settled: Value
    ) -> Value:
        """What a query has found, after its last page.

        Returns:
            Whether another query may start.
        """
        owed = Signal()
        given = self.states.valid & self.states.ready
        m.d.comb += [
            self.states.valid.eq(owed & settled),
            self.states.p.query.eq(self.query),
            self.states.p.maximum.eq(self.maximum),
            self.states.p.total.eq(total.total),
        ]
        with m.If(starts):
            m.d.sync += [
                self.query.eq(following.query),
                self.maximum.eq(following.maximum),
                owed.eq(following.closes),
            ]
        with m.Elif(given):
            m.d.sync += owed.eq(0)
        return ~owed | given

    def _weigh(
        self,
        m: Module,
        collector: ScoreCollector,
        scores: ScoreMemory,
        unit: WeightUnit,
        starts: Value,
        reading: Signal,
    ) -> Signal:
        """Scores into the weight unit and, where they are wanted, out.

        Returns:
            Whether they move.
        """
        there = Signal()
        last = Signal()
        wanted = Signal()
        advance = Signal()
        reads = Signal()
        m.d.comb += [
            reads.eq(reading | starts),
            scores.read.eq(reads & advance),
            self.scores.valid.eq(there & wanted),
            self.scores.p.score.eq(scores.score.score),
            self.scores.p.last.eq(last),
            advance.eq(~self.scores.valid | self.scores.ready),
            unit.present.eq(there & advance),
            unit.valid.eq(scores.score.valid),
            unit.score.eq(scores.score.score),
            unit.maximum.eq(self.maximum),
        ]
        with m.If(advance):
            m.d.sync += [there.eq(reads), last.eq(scores.closes), reading.eq(reads & ~scores.closes)]
        with m.If(starts):
            m.d.sync += wanted.eq(collector.queries.p.scores)
        # The sum of weights is written so many cycles behind the last score.
        m.d.sync += collector.waits.eq(unit.present & last)
        return advance

    def _add(
        self,
        m: Module,
        following: data.View,
        unit: WeightUnit,
        weights: WeightMemory,
        total: WeightSum,
        starts: Value,
    ) -> None:
        """Weights to memory and to their sum."""
        last_query = Signal()
        ends_page = Signal()
        with m.If(starts):
            m.d.sync += [
                last_query.eq(following.last),
                total.fresh.eq(following.opens),
                total.stays.eq(following.places.any()),
            ]
        # When the last weight of a query comes, the next one has started, but not when the first one comes.
        with m.If(total.opens):
            m.d.sync += ends_page.eq(last_query)
        m.d.comb += [
            weights.written.eq(unit.written),
            weights.weight.eq(unit.weight),
            weights.last_query.eq(ends_page),
            total.opens.eq(unit.written & weights.opens),
            total.closes.eq(unit.written & weights.closes),
            total.query.eq(weights.query),
            total.share.eq(unit.share),
            total.carry.eq(unit.carry),
        ]
