"""Softmax: results of the array to scores, and scores to weights, page after page.

Meaning: ``golden.attention.scores`` from the array's results on, ``golden.attention.softmax`` and the maximum
and the sum of weights of ``golden.attention.engine.step``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.attention.widths import LOWEST
from hw import payloads
from hw.attention import score_converter, score_memory
from hw.attention.payloads import (
    MAXIMUM_BITS,
    SCORE_BITS,
    TOTAL_BITS,
    maximum_move,
    offset_term,
    score_beat,
    score_page,
    softmax_state,
    weight_beat,
    weight_request,
)
from hw.attention.score_collector import ScoreCollector
from hw.attention.score_memory import MAXIMUM, TOTAL_HIGH, TOTAL_LOW, maximum_place, score_place, state_place
from hw.attention.weight_memory import WeightMemory
from hw.attention.weight_unit import WeightUnit
from hw.config import Config

__all__ = ["CYCLES", "WAITS", "Softmax"]

CYCLES = 15
"""Cycles that a query of a page takes beside one a token."""
WAITS = score_converter.LATENCY + 1
"""At most so many more while results of the next page come."""

_MOST_PLACES = 62


class _Phase(enum.Enum, shape=4):
    """What happens to a query of a page, in this order."""

    IDLE = 0
    MAXIMA = 1
    MAXIMUM = 2
    TOTAL_LOW = 3
    TOTAL_HIGH = 4
    MOVE = 5
    SHIFT = 6
    WEIGHTS = 7
    DRAIN = 8
    KEEP_MAXIMUM = 9
    KEEP_LOW = 10
    KEEP_HIGH = 11
    STATE = 12


class Softmax(wiring.Component):
    """Weigh the tokens of each query, a page at a time.

    A query of a page takes ``CYCLES``, one more a token, one for each place that its maximum moves and one
    for each group of tokens behind the first; results of the next page are taken meanwhile, a row a cycle,
    and may cost it up to ``WAITS`` cycles. A page whose weights nobody has read stops the second one behind
    it.

    Members:
        pages (in stream): the pages, in order.
        results (in stream), terms (in stream): as of ``ScoreCollector``.
        moves (out stream): moves of the maxima, query by query of every page.
        scores (out stream): scores of pages where they are wanted, query by query, those of invalid tokens
            too; they halt the weights.
        states (out stream): what the queries have found, after their last page.
        requests (in stream), weights (out stream): as of ``WeightMemory``; the first request of a page waits
            for all its weights.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config))),
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
        self.query = Signal(range(config.kv.queries))
        self.token = Signal(range(config.kv.page_tokens))
        self.maximum = Signal(signed(MAXIMUM_BITS), reset_less=True)
        self.places = Signal(range(_MOST_PLACES + 1), reset_less=True)
        self.total = Signal(TOTAL_BITS, reset_less=True)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.collector = collector = ScoreCollector(config)
        m.submodules.unit = unit = WeightUnit()
        m.submodules.weight_memory = weights = WeightMemory(config)
        depth = score_memory.depth(config)
        m.submodules.score_memory = storage = memory.Memory(shape=SCORE_BITS, depth=depth, init=[])
        write = storage.write_port()
        read = storage.read_port()
        for name in ("pages", "results", "terms"):
            connect(m, flipped(getattr(self, name)), getattr(collector, name))
        connect(m, flipped(self.requests), weights.requests)
        connect(m, weights.weights, flipped(self.weights))

        page = collector.page
        group = Signal.like(collector.last_group)
        advance = Signal()
        there = Signal()
        drained = Signal()
        m.d.comb += drained.eq(~there & ~unit.busy)
        self._walk(m, collector, weights, group, advance, drained)
        self._gather(m, page, read, unit)
        self._weigh(m, page, read, unit, advance, there)
        m.d.comb += [
            weights.written.eq(unit.written),
            weights.weight.eq(unit.weight),
            read.en.eq(advance),
            read.addr.eq(self._read_place(collector, group)),
            self.moves.payload.query.eq(self.query),
            self.moves.payload.places.eq(self.places),
            self.moves.valid.eq(self.phase == _Phase.MOVE),
            self.states.payload.query.eq(self.query),
            self.states.payload.maximum.eq(self.maximum),
            self.states.payload.total.eq(self.total),
            self.states.valid.eq((self.phase == _Phase.STATE) & page.closes),
        ]

        # Scores go first to memory, the state of a query where they leave a cycle.
        word = collector.write
        m.d.comb += [
            collector.waits.eq(self._keeps()),
            write.en.eq(word.present | self._keeps()),
            write.addr.eq(Mux(word.present, word.address, self._kept_place())),
            write.data.eq(Mux(word.present, word.data, self._kept())),
        ]
        return m

    def _walk(
        self,
        m: Module,
        collector: ScoreCollector,
        weights: WeightMemory,
        group: Signal,
        advance: Value,
        drained: Value,
    ) -> None:
        """From phase to phase, query to query, page to page."""
        page, phase = collector.page, self.phase
        starts = Signal()
        ends = Signal()
        query_ends = Signal()
        m.d.comb += [
            query_ends.eq((phase == _Phase.STATE) & (~page.closes | self.states.ready)),
            ends.eq(query_ends & (self.query == page.last_query)),
            starts.eq(Mux(phase == _Phase.IDLE, collector.complete & weights.room, query_ends & ~ends)),
            collector.free.eq(ends),
            weights.page_ends.eq(ends),
        ]
        leaves = {
            _Phase.MAXIMA: group == collector.last_group,
            _Phase.MAXIMUM: True,
            _Phase.TOTAL_LOW: True,
            _Phase.TOTAL_HIGH: True,
            _Phase.MOVE: self.moves.ready,
            _Phase.SHIFT: ~self.places.any() | page.opens,
            _Phase.WEIGHTS: advance & self.token.all(),
            _Phase.DRAIN: drained,
            _Phase.KEEP_MAXIMUM: ~collector.write.present,
            _Phase.KEEP_LOW: ~collector.write.present,
            _Phase.KEEP_HIGH: ~collector.write.present,
            _Phase.STATE: False,
        }
        with m.Switch(phase):
            for (name, leaving), following in zip(leaves.items(), [*leaves][1:], strict=False):
                with m.Case(name), m.If(leaving):
                    m.d.sync += phase.eq(following)
        m.d.sync += group.eq(Mux(phase == _Phase.MAXIMA, group + 1, 0))
        with m.If((phase == _Phase.WEIGHTS) & advance):
            m.d.sync += self.token.eq(self.token + 1)
        with m.If(starts):
            m.d.sync += [phase.eq(_Phase.MAXIMA), self.maximum.eq(LOWEST)]
        with m.If(query_ends):
            m.d.sync += self.query.eq(Mux(ends, 0, self.query + 1))
        with m.If(ends):
            m.d.sync += phase.eq(_Phase.IDLE)

    def _read_place(self, collector: ScoreCollector, group: Value) -> Value:
        """Address of what the phase reads."""
        words = {_Phase.MAXIMUM: MAXIMUM, _Phase.TOTAL_LOW: TOTAL_LOW, _Phase.TOTAL_HIGH: TOTAL_HIGH}
        place = score_place(collector.bank, self.query, self.token)
        for phase, word in words.items():
            own = state_place(self.config, self.query, Const(word, 2))
            place = Mux(self.phase == phase, own, place)
        of_group = maximum_place(self.config, collector.bank, self.query, group)
        return Mux(self.phase == _Phase.MAXIMA, of_group, place)

    def _gather(self, m: Module, page: data.View, read: memory.ReadPort, unit: WeightUnit) -> None:
        """The maximum and the sum of weights, shifted by the maximum's move and with the new weights."""
        arrived = Signal(_Phase)
        m.d.sync += arrived.eq(self.phase)
        word = Signal(SCORE_BITS)
        kept = Signal(signed(MAXIMUM_BITS))
        above = Signal(signed(MAXIMUM_BITS + 1))
        fresh = (arrived != _Phase.MAXIMA) & page.opens
        m.d.comb += [
            word.eq(Mux(fresh, 0, read.data)),
            kept.eq(Mux(fresh, LOWEST, read.data[:MAXIMUM_BITS].as_signed())),
            above.eq(self.maximum - kept),
        ]
        below = above[-1]
        with m.If(below & ((arrived == _Phase.MAXIMA) | (arrived == _Phase.MAXIMUM))):
            m.d.sync += self.maximum.eq(kept)
        with m.If(arrived == _Phase.MAXIMUM):
            far = above > _MOST_PLACES
            m.d.sync += self.places.eq(Mux(below, 0, Mux(far, _MOST_PLACES, above[: len(self.places)])))

        # What was shifted out last is rounded to nearest, ties up, by adding it.
        dropped = Signal()
        shifts = Signal()
        m.d.comb += shifts.eq((self.phase == _Phase.SHIFT) & self.places.any())
        m.d.sync += [
            dropped.eq(shifts & self.total[0]),
            self.total.eq(self.total + unit.share + (unit.carry | dropped)),
        ]
        with m.If(shifts):
            m.d.sync += [self.total.eq(self.total >> 1), self.places.eq(self.places - 1)]
        with m.If(arrived == _Phase.TOTAL_LOW):
            m.d.sync += self.total[:SCORE_BITS].eq(word)
        with m.If(arrived == _Phase.TOTAL_HIGH):
            m.d.sync += self.total[SCORE_BITS:].eq(word)

    def _weigh(
        self,
        m: Module,
        page: data.View,
        read: memory.ReadPort,
        unit: WeightUnit,
        advance: Value,
        there: Value,
    ) -> None:
        """Scores from memory into the weight unit and, where they are wanted, out."""
        valid = Signal()
        last = Signal()
        m.d.comb += [
            self.scores.valid.eq(there & page.scores),
            self.scores.payload.score.eq(read.data),
            self.scores.payload.last.eq(last),
            advance.eq(~self.scores.valid | self.scores.ready),
            unit.present.eq(there & advance),
            unit.valid.eq(valid),
            unit.score.eq(read.data),
            unit.maximum.eq(self.maximum),
        ]
        with m.If(advance):
            m.d.sync += [
                there.eq(self.phase == _Phase.WEIGHTS),
                valid.eq((page.first <= self.token) & (self.token <= page.last)),
                last.eq(self.token.all()),
            ]

    def _keeps(self) -> Value:
        """Whether a word of the state is to be written."""
        kept = (_Phase.KEEP_MAXIMUM, _Phase.KEEP_LOW, _Phase.KEEP_HIGH)
        return Cat(self.phase == phase for phase in kept).any()

    def _kept_place(self) -> Value:
        """Its address."""
        high, low = self.phase == _Phase.KEEP_HIGH, self.phase == _Phase.KEEP_LOW
        word = Mux(low, TOTAL_LOW, Mux(high, TOTAL_HIGH, MAXIMUM))[:2]
        return state_place(self.config, self.query, word)

    def _kept(self) -> Value:
        """The word."""
        high, low = self.phase == _Phase.KEEP_HIGH, self.phase == _Phase.KEEP_LOW
        return Mux(low, self.total[:SCORE_BITS], Mux(high, self.total[SCORE_BITS:], self.maximum))
