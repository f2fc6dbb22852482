"""Selector: exact top-k and top-p without a sort, by the digits of the scores.

Meaning: ``golden.selection.selector``. The border, the score of the last token that is chosen, is found digit
by digit, the highest one first. A pass over all scores makes a histogram, count and sum for each of 256
digits, of the scores that have the border's digits so far; its bins are looked through, the first ones first,
for the one in which enough has been seen. The last pass compares all scores with the border.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.config import Config
from hw.numbers.pipeline import hold
from hw.selection.border_search import BorderSearch, Step
from hw.selection.histogram import Histogram
from hw.selection.histogram_lane import BIN_BITS, PLACES
from hw.selection.payloads import (
    MOST_TOKENS,
    SCORE_BITS,
    SHARE_BITS,
    Measure,
    found_tokens,
    score_lanes,
    score_pass,
    score_words,
    selected_tokens,
    selection_request,
)
from hw.selection.selection_state import SelectionState
from hw.selection.token_marks import TokenMarks

__all__ = ["Selector", "cycles"]

_LAST_BIN = (1 << BIN_BITS) - 1


_SCAN_CYCLES = (1 << BIN_BITS) + 4
"""From the last word of a pass to the decision what comes next."""
_ANSWER_CYCLES = 6


def cycles(words: int, digits: int, measure: Measure) -> int:
    """Cycles from a request to its answer, where its words of scores come and its bits leave at once.

    Args:
        words: of scores, at least one.
        digits: of the border that are looked for. By count: 0 where none or all tokens are wanted, else as
            many as it takes until all tokens with these digits are wanted, at most 4. By share: 4, or 1
            where no token is wanted.
        measure: what says how many tokens are wanted.
    """
    found = digits * (words + _SCAN_CYCLES + 2) + words + _ANSWER_CYCLES
    if measure is Measure.COUNT:
        return found
    return found + _SCAN_CYCLES + SHARE_BITS + 1 + (digits > 1) * SHARE_BITS


class _Phase(enum.Enum, shape=4):
    """What happens to a request."""

    SCAN = 0
    """The bins are looked through; after a reset they are only cleared."""
    DECIDE = 1
    IDLE = 2
    ASK = 3
    READ = 4
    SETTLE = 5
    SCALE = 6
    DIVIDE = 7
    MARK = 8
    TELL = 9


class Selector(wiring.Component):
    """Choose tokens by their scores, of equal scores those of the lowest index.

    A request asks for all scores again and again, ``passes``, until the border is known, at most four times,
    and then once more. It takes a word of scores a cycle, whatever they are, and ``cycles`` from request to
    answer: for each digit 256 and a few beside the words, twice that for the first one of a share. After a
    reset the bins are cleared, which takes as many. The least score of all (``lowest``, a count of 1) needs
    as many digits as tell it from the others; the indicator of a median is a count of half the tokens.

    Each lane has a histogram of its own, 256 bins of 32 bits and ``log2(65,536 / lanes)``: equal bins side by
    side are the rule (all sums of attention begin with zeros), and a histogram that is shared would wait for
    them. One in registers would take 256 x 48 flops. A bin is a count or a sum, never both, since a share is
    looked for to its last digit and the number of tokens at the border follows by a division.

    Members:
        requests (in stream): which tokens are wanted.
        passes (out stream): the scores of all tokens are wanted, as words.
        scores (in stream): words of scores, each pass' from the first token on.
        selected (out stream): the chosen tokens, a word of bits for each word of scores.
        found (out stream): how many were chosen, once a request and after its bits.
        error_request (out): one of more than 65,536 tokens, or a share above 1; high for a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        super().__init__(
            {
                "requests": In(stream.Signature(selection_request)),
                "passes": Out(stream.Signature(score_pass)),
                "scores": In(stream.Signature(score_words(config))),
                "selected": Out(stream.Signature(selected_tokens(config))),
                "found": Out(stream.Signature(found_tokens)),
                "error_request": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.search = BorderSearch()
        m.submodules.histogram = Histogram(self.config)
        m.submodules.marks = marks = TokenMarks(self.config)
        connect(m, marks.selected, flipped(self.selected))
        phase = Signal(_Phase)
        state = SelectionState()
        starts = Signal(init=1)  # after a reset
        ends = self._read(m, phase == _Phase.READ, state)
        bin_ends, stands = self._scan(m, phase == _Phase.SCAN, state, starts)
        with m.Switch(phase):
            with m.Case(_Phase.IDLE), m.If(self.requests.valid):
                self._accept(m, phase, state)
            with m.Case(_Phase.ASK), m.If(self.passes.ready):
                m.d.sync += [state.left.eq(state.request.tokens), phase.eq(_Phase.READ)]
            with m.Case(_Phase.READ), m.If(ends):
                m.d.sync += phase.eq(Mux(state.chooses, _Phase.MARK, _Phase.SETTLE))
            with m.Case(_Phase.SETTLE):
                m.d.sync += [state.met.eq(0), state.digit.eq(_LAST_BIN), phase.eq(_Phase.SCAN)]
            with m.Case(_Phase.SCAN), m.If(bin_ends):
                m.d.sync += phase.eq(_Phase.DECIDE)
            with m.Case(_Phase.DECIDE), m.If(stands):
                with m.If(starts):
                    m.d.sync += [starts.eq(0), phase.eq(_Phase.IDLE)]
                with m.Else():
                    self._decide(m, phase, state)
            with m.Case(_Phase.SCALE, _Phase.DIVIDE):
                self._calculate(m, phase, state)
            with m.Case(_Phase.MARK), m.If(self.selected.valid & self.selected.ready & self.selected.p.last):
                m.d.sync += phase.eq(_Phase.TELL)
            with m.Case(_Phase.TELL), m.If(self.found.ready):
                m.d.sync += phase.eq(_Phase.IDLE)
        m.d.comb += [
            self.requests.ready.eq(phase == _Phase.IDLE),
            self.passes.valid.eq(phase == _Phase.ASK),
            self.passes.payload.chooses.eq(state.chooses),
            self.found.valid.eq(phase == _Phase.TELL),
            self.found.payload.count.eq(marks.count),
            self.found.payload.first.eq(marks.first),
            self.found.payload.error.eq(state.error),
        ]
        return m

    def _accept(self, m: Module, phase: Signal, state: SelectionState) -> None:
        """Take a request; where none or all tokens are wanted no border is needed."""
        request = self.requests.payload
        by_sum = Signal()
        bad = Signal()
        at_once = Signal()
        m.d.comb += [
            by_sum.eq(request.measure == Measure.SHARE),
            bad.eq((request.tokens > MOST_TOKENS) | (by_sum & (request.amount > 1 << SHARE_BITS))),
            at_once.eq(~by_sum & ((request.amount == 0) | (request.amount >= request.tokens))),
            self.error_request.eq(bad),
            m.submodules.search.step.eq(Step.LOAD),
            m.submodules.search.start.eq(Mux(by_sum, 0, request.amount - 1)),
            m.submodules.marks.restart.eq(1),
        ]
        m.d.sync += [
            state.request.eq(request),
            state.error.eq(bad),
            state.border.as_value().eq((~request.lowest).replicate(SCORE_BITS)),
            state.known.eq(0),
            state.place.eq(PLACES - 1),
            state.totals.eq(by_sum),
            state.chooses.eq(at_once),
            phase.eq(Mux(bad | (request.tokens == 0), _Phase.TELL, _Phase.ASK)),
        ]

    def _read(self, m: Module, reads: Value, state: SelectionState) -> Value:
        """Take words of scores; returns whether the last one of a pass is taken."""
        histogram, marks, search = m.submodules.histogram, m.submodules.marks, m.submodules.search
        place_bits = exact_log2(self.lanes)
        last = Signal()
        taken = Signal()
        m.d.comb += [
            self.scores.ready.eq(reads & marks.room),
            taken.eq(self.scores.valid & self.scores.ready),
            last.eq(state.left <= self.lanes),
            histogram.scores.eq(self.scores.payload),
            histogram.place.eq(state.place),
            histogram.border.eq(state.border),
            histogram.known.eq(state.known),
            histogram.lowest.eq(state.request.lowest),
            histogram.chooses.eq(state.chooses),
            histogram.by_sum.eq(state.request.measure == Measure.SHARE),
            marks.takes.eq(taken & state.chooses),
            marks.last.eq(hold(m, None, "last", last)),
            marks.equal.eq(histogram.equal),
            marks.beyond.eq(histogram.beyond),
            marks.wanted.eq(search.wanted),
        ]
        whole = Signal()
        m.d.comb += whole.eq(state.left[place_bits:].any())
        for number in range(self.lanes - 1):
            m.d.comb += histogram.present[number].eq(taken & (whole | (state.left[:place_bits] > number)))
        m.d.comb += histogram.present[-1].eq(taken & whole)
        with m.If(taken):
            m.d.sync += state.left.eq(state.left - self.lanes)
        with m.If(marks.present):
            m.d.comb += [search.mass.eq(marks.used), search.takes_mass.eq(1)]
        with m.If(marks.spends):
            m.d.comb += search.step.eq(Step.SUBTRACT)
        return taken & last

    def _scan(self, m: Module, scans: Value, state: SelectionState, starts: Value) -> tuple[Value, Value]:
        """Look through the bins; returns whether the last one is looked up, and whether none is under way."""
        histogram, search = m.submodules.histogram, m.submodules.search
        number = Signal(BIN_BITS, init=_LAST_BIN)
        looked_up = hold(m, None, "looked_up", scans, reset=True)
        added = hold(m, None, "added", looked_up, reset=True)
        m.d.comb += [
            histogram.scans.eq(scans),
            histogram.bin.eq(number),
            histogram.clears.eq(starts | ~state.totals),
        ]
        with m.If(scans):
            m.d.sync += number.eq(number - 1)
        with m.If(looked_up):
            m.d.comb += [search.mass.eq(histogram.mass), search.takes_mass.eq(1)]
        with m.If(added & state.totals):
            m.d.comb += search.step.eq(Step.SUBTRACT)
        with m.Elif(added & ~state.met):
            m.d.comb += search.step.eq(Step.TAKE)
            m.d.sync += [state.met.eq(search.enough), state.all.eq(search.all)]
            with m.If(~search.enough):
                m.d.sync += state.digit.eq(state.digit - 1)
        return number == 0, ~looked_up & ~added

    def _decide(self, m: Module, phase: Signal, state: SelectionState) -> None:
        """What comes after a scan."""
        search = m.submodules.search
        by_sum = state.request.measure == Measure.SHARE
        digit = Signal(BIN_BITS, name="found_digit")
        done = Signal()
        divides = Signal()
        m.d.comb += [
            digit.eq(state.digit ^ state.request.lowest.replicate(BIN_BITS)),
            search.takes_mass.eq(1),
            done.eq((state.all & ~by_sum) | (state.place == 0)),
            divides.eq(by_sum & done),
        ]
        m.d.sync += state.step.eq(SHARE_BITS - 1)
        with m.If(state.totals):
            m.d.comb += [search.mass.eq(search.wanted), search.step.eq(Step.LOAD), search.start.eq(-1)]
            m.d.sync += [state.totals.eq(0), state.step.eq(SHARE_BITS), phase.eq(_Phase.SCALE)]
        with m.Elif(search.wanted[-1]):
            m.d.sync += [state.chooses.eq(1), phase.eq(_Phase.ASK)]
        with m.Else():
            m.d.comb += search.mass.eq(Cat(Const(0, SHARE_BITS), digit, *state.border[1:]))
            m.d.sync += [
                state.border[state.place].eq(digit),
                state.known.bit_select(state.place, 1).eq(1),
                state.place.eq(state.place - 1),
                state.chooses.eq(done),
                phase.eq(Mux(divides, _Phase.DIVIDE, _Phase.ASK)),
            ]

    def _calculate(self, m: Module, phase: Signal, state: SelectionState) -> None:
        """Multiply the sum of all scores by the share, or divide what is wanted by the border."""
        search = m.submodules.search
        scales = phase == _Phase.SCALE
        m.d.comb += [
            search.step.eq(Mux(scales, Step.SCALE, Step.DIVIDE)),
            search.bit.eq(state.request.amount[0]),
            search.last.eq(state.step == 0),
        ]
        m.d.sync += [state.step.eq(state.step - 1), state.request.amount.eq(state.request.amount >> 1)]
        with m.If(search.last):
            m.d.sync += phase.eq(Mux(scales, _Phase.SETTLE, _Phase.ASK))
