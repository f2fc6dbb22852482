"""Property of a selector's last pass: as many tokens are chosen as are wanted."""

import itertools

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.config import Config
from hw.selection.border_search import BorderSearch, Step
from hw.selection.payloads import score_lanes
from hw.selection.token_marks import UNDER_WAY, TokenMarks, count_ones
from sim.proofs.kv_codec import StreamRules

__all__ = ["AsManyAsWanted"]

_MOST_WORDS = 3
"""Of scores."""


class AsManyAsWanted(wiring.Component):
    """The last pass of a selector marks all tokens beyond the border, and of those at it the first ones.

    A solver chooses which tokens are beyond the border and at it, how many at it are wanted, and all stalls.
    Claimed: every word of bits is what counting gives, in order; the answer's count is that of the bits. So
    if k are wanted, fewer are beyond the border, and at least as many are beyond or at it, which is what a
    border is, then k are marked.

    Members:
        beyond, equal (in): of a word's tokens; one that is both counts as beyond.
        want (in): tokens at the border that are wanted, at most all of ``_MOST_WORDS`` words.
        restart, takes, last, selected_ready (in): any.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = score_lanes(config)
        names = ("restart", "takes", "last", "selected_ready")
        self._most = _MOST_WORDS * lanes
        super().__init__(
            {
                "beyond": In(lanes),
                "equal": In(lanes),
                "want": In(range(self._most + 1)),
                **{name: In(1) for name in names},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.marks = marks = TokenMarks(self.config)
        m.submodules.search = search = BorderSearch()
        lanes = len(self.beyond)
        words, under_way = Signal(range(_MOST_WORDS + 1)), Signal(range(UNDER_WAY + 1))
        begun, taken = Signal(), Signal()
        takes = begun & self.takes & marks.room & (words != _MOST_WORDS)
        begins = self.restart & (under_way == 0)
        leaves = marks.selected.valid & self.selected_ready
        equal = self.equal & ~self.beyond
        m.d.sync += [taken.eq(takes), under_way.eq(under_way + takes - leaves)]
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(self.want <= self._most),
            marks.restart.eq(begins),
            marks.takes.eq(takes),
            marks.last.eq(self.last),
            marks.beyond.eq(self.beyond),
            marks.equal.eq(equal),
            marks.wanted.eq(search.wanted),
            marks.selected.ready.eq(self.selected_ready),
            search.mass.eq(marks.used),
            search.takes_mass.eq(marks.present),
            search.start.eq(self.want - 1),
        ]
        with m.If(marks.spends):
            m.d.comb += search.step.eq(Step.SUBTRACT)
        with m.If(begins):
            m.d.comb += search.step.eq(Step.LOAD)
            m.d.sync += [words.eq(0), begun.eq(1)]
        with m.If(takes):
            m.d.sync += words.eq(words + 1)
        m.submodules.rules = StreamRules(marks.selected, Assert)

        want = Signal.like(self.want)  # still
        expected = Signal(lanes)
        used = Signal(range(lanes + 1))
        with m.If(begins):
            m.d.sync += want.eq(self.want)
        with m.Elif(taken):
            m.d.sync += want.eq(Mux(want > used, want - used, 0))
        m.d.comb += used.eq(count_ones(equal))
        for number in range(lanes):
            some = count_ones(equal[:number]) < want if number else want != 0
            m.d.comb += expected[number].eq(self.beyond[number] | (equal[number] & some))
        self._compare(m, marks, taken, expected, begins)
        return m

    def _compare(self, m: Module, marks: TokenMarks, pushes: Value, expected: Value, begins: Value) -> None:
        """Words of bits in order, and the answer after them."""
        leaves = marks.selected.valid & self.selected_ready
        queue = [Signal.like(expected, name=f"expected_{place}") for place in range(UNDER_WAY + 1)]
        inside = Signal(range(UNDER_WAY + 1))
        count = Signal(range(self._most + 1))
        m.d.sync += inside.eq(inside + pushes - leaves)
        m.d.comb += [
            Assert(~marks.selected.valid | ((inside != 0) & (marks.selected.payload.chosen == queue[0]))),
            Assert(marks.count == count),
        ]
        for place, (here, above) in enumerate(itertools.pairwise(queue)):
            with m.If(pushes & (inside - leaves == place)):
                m.d.sync += here.eq(expected)
            with m.Elif(leaves):
                m.d.sync += here.eq(above)
        with m.If(leaves):
            m.d.sync += count.eq(count + count_ones(queue[0]))
        with m.If(begins):
            m.d.sync += count.eq(0)
