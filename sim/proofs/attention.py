"""Properties of the attention engine: pages and outputs in order, each once; maxima that never fall."""

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, ShapeLike, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import LOWEST, SCORE_FRACTION
from hw import payloads
from hw.attention.division import Division
from hw.attention.page_loader import PageLoader
from hw.attention.payloads import (
    MAXIMUM_BITS,
    MOST_MOVED,
    SCORE_BITS,
    attention_page,
    offset_term,
    score_page,
)
from hw.attention.score_collector import ScoreCollector
from hw.config import Config

__all__ = ["InOrder", "OutputsInOrder", "PagesInOrder", "RisingMaximum"]

_ANSWER = 6
"""Cycles in which a maximum is found."""
_INSIDE = 7
"""Pages or sums inside, at most."""


class InOrder(wiring.Component):
    """Claims that what enters somewhere leaves it once and in order.

    A solver picks one entry; when those before it have left, it must be the next one to leave.

    Members:
        enters, leaves (in): an entry does so in this cycle.
        entering, leaving (in): the entry.
        pick (in): the solver's choice; the first one counts.
    """

    def __init__(self, shape: ShapeLike, most: int) -> None:
        self._most = most
        entry = {"entering": In(shape), "leaving": In(shape)}
        super().__init__({"enters": In(1), "leaves": In(1), "pick": In(1), **entry})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside = Signal(range(self._most + 2))
        ahead = Signal.like(inside)
        picked, gone = Signal(), Signal()
        own = Signal(self.entering.shape())
        m.d.sync += inside.eq(inside + self.enters - self.leaves)
        m.d.comb += [
            Assert(inside <= self._most),
            Assert(~self.leaves | (inside != 0) | self.enters),
        ]
        with m.If(self.pick & self.enters & ~picked):
            m.d.sync += [picked.eq(1), own.eq(self.entering), ahead.eq(inside - self.leaves)]
        with m.If(picked & ~gone & self.leaves):
            m.d.sync += [ahead.eq(ahead - 1), gone.eq(ahead == 0)]
            with m.If(ahead == 0):
                m.d.comb += Assert(self.leaving == own)
        return m


class PagesInOrder(wiring.Component):
    """Every page of the list leaves the loader once and in order, for its numbers and for its codes.

    Pages are told apart by their sides, which a solver chooses page by page. Words and stalls are the
    solver's: pages that are short, long, damaged, or that cannot be read.

    Members:
        page, word (in): payloads, any bits.
        pages_valid, words_valid, word_last, takes_numbers, takes_codes, others_ready, pick (in): any.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        names = ("pages_valid", "words_valid", "word_last", "takes_numbers", "takes_codes", "others_ready")
        super().__init__(
            {
                "page": In(attention_page(config)),
                "word": In(config.memory_bits),
                "pick": In(1),
                **{name: In(1) for name in names},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = PageLoader(self.config)
        m.d.comb += [
            Assume(~ResetSignal()),
            loader.pages.payload.eq(self.page),
            loader.pages.valid.eq(self.pages_valid),
            loader.words.payload.data.eq(self.word),
            loader.words.payload.last.eq(self.word_last),
            loader.words.valid.eq(self.words_valid),
            loader.number_pages.ready.eq(self.takes_numbers),
            loader.code_pages.ready.eq(self.takes_codes),
            *(taker.ready.eq(self.others_ready) for taker in (loader.numbers, loader.dense, loader.marks)),
        ]

        page, numbers, codes = loader.pages, loader.number_pages, loader.code_pages
        for name, leaving, own in (
            ("numbers", numbers, numbers.p.form.side),
            ("codes", codes, codes.p.side),
        ):
            m.submodules[f"order_of_{name}"] = order = InOrder(1, _INSIDE)
            m.d.comb += [
                order.enters.eq(page.valid & page.ready),
                order.entering.eq(page.p.form.side),
                order.leaves.eq(leaving.valid & leaving.ready),
                order.leaving.eq(own),
                order.pick.eq(self.pick),
            ]
        return m


class OutputsInOrder(wiring.Component):
    """Every value sum that the division takes leaves it once and in order, the last one of a query as such.

    Members:
        divisor_valid, sum_valid, last, takes, pick (in): any.
        total, sum (in): any numbers.
    """

    def __init__(self) -> None:
        names = ("divisor_valid", "sum_valid", "last", "takes", "pick")
        super().__init__({name: In(1) for name in names})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.division = division = Division()
        m.submodules.order = order = InOrder(1, _INSIDE)
        m.d.comb += [
            Assume(~ResetSignal()),
            division.divisors.valid.eq(self.divisor_valid),
            division.sums.valid.eq(self.sum_valid),
            division.sums.p.last.eq(self.last),
            division.quotients.ready.eq(self.takes),
            order.enters.eq(division.sums.valid & division.sums.ready),
            order.entering.eq(self.last),
            order.leaves.eq(division.quotients.valid & division.quotients.ready),
            order.leaving.eq(division.quotients.p.last),
            order.pick.eq(self.pick),
        ]
        return m


class _AnyScore(wiring.Component):
    """A score converter whose scores are whatever a solver chooses, as far as scores reach."""

    def __init__(self, adds: bool) -> None:
        earlier = {"earlier": In(signed(SCORE_BITS))} if adds else {}
        super().__init__(
            {"result": In(32), "term": In(offset_term), **earlier, "score": Out(signed(SCORE_BITS))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chosen, most = self.result.as_signed(), -(LOWEST + 1) << SCORE_FRACTION
        m.d.comb += self.score.eq(Mux(chosen > most, most, Mux(chosen < -most, -most, chosen)))
        return m


class _Collector(ScoreCollector):
    """A score collector of any scores."""

    converter = _AnyScore


class RisingMaximum(wiring.Component):
    """The maximum of a query after a page is not below the one before; the sums move by the difference.

    Results, pages and the maximum that was kept are the solver's.

    Members:
        page, result, term (in): payloads.
        results_valid, pages_valid, terms_valid, read_place, waits (in): any.
        kept (in): the maximum before, given when ``found``; takes (in): the query is taken.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        names = ("results_valid", "pages_valid", "terms_valid", "waits", "found", "takes")
        super().__init__(
            {
                "page": In(score_page(config)),
                "result": In(payloads.result(config)),
                "term": In(offset_term),
                "read_place": In(range(2 * config.kv.page_tokens)),
                "kept": In(signed(MAXIMUM_BITS)),
                **{name: In(1) for name in names},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.collector = collector = _Collector(self.config)
        query = collector.queries
        standing = Signal.like(self.kept)
        rise = Signal(len(self.kept) + 1)
        asked = Signal()
        waits = Signal(range(_ANSWER + 1))
        m.d.sync += [asked.eq(collector.asks), waits.eq(Mux(collector.asks, waits + 1, 0))]
        m.d.comb += [
            Assume(~ResetSignal()),
            collector.pages.payload.eq(self.page),
            collector.pages.valid.eq(self.pages_valid),
            collector.results.payload.eq(self.result),
            collector.results.valid.eq(self.results_valid),
            collector.terms.payload.eq(self.term),
            collector.terms.valid.eq(self.terms_valid),
            collector.read_place.eq(self.read_place),
            collector.waits.eq(self.waits),
            collector.found.eq(self.found),
            collector.kept.eq(self.kept),
            query.ready.eq(self.takes),
            # The memory answers after some cycles; a query is taken before the next one ends.
            Assume(~self.found | asked),
            Assume(waits != _ANSWER),
            Assume(~collector.asks | ~query.valid),
        ]
        with m.If(self.found):
            m.d.sync += standing.eq(Mux(query.p.opens, LOWEST, self.kept))
        m.d.comb += rise.eq(query.p.maximum - standing)
        with m.If(query.valid):
            m.d.comb += [
                Assert(query.p.maximum >= standing),
                Assert(query.p.places == Mux(rise > MOST_MOVED, MOST_MOVED, rise)),
            ]
        return m
