"""Properties of the circuits that choose and move tokens: as many as wanted, none lost, none there twice."""

import itertools

from amaranth.hdl import Array, Assert, Assume, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.config import Config
from hw.selection.border_search import BorderSearch, Step
from hw.selection.moving.departures import Departures
from hw.selection.moving.payloads import class_row, copy_place
from hw.selection.payloads import score_lanes, selected_tokens
from hw.selection.token_marks import UNDER_WAY, TokenMarks, count_ones
from sim.proofs.kv_codec import StreamRules

__all__ = ["AsManyAsWanted", "TokensMove", "moving_config"]

_MOST_WORDS = 3
"""Of scores, in the proof of a last pass."""


def moving_config(tokens: int) -> Config:
    """`tiny` with pages of so many tokens, a power of two; proofs use shorter ones than memories do."""
    config = Config().model_copy(update={"memory_bits": 64})
    return config.model_copy(update={"kv": config.kv.model_copy(update={"page_tokens": tokens})})


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


class TokensMove(wiring.Component):
    """Every token of a page table stays in its row, or is told once, with its own entry and place.

    A solver chooses all inputs: any tables, bitmaps, moves and stalls. Claimed, row by row:

    * each row is answered once, in order, and keeps no token that it had not;
    * the tokens that it had and keeps no more are as many as were told meanwhile, the solver's choice of them
      with its own entry; they have consecutive places of the target's copies, whose first one the row's
      departure names, and are the ones that it names;
    * a copy is closed when it is full, once, and no copy is full when the row has been answered;
    * a page is freed when its row had tokens and keeps none, and then only.

    Entries are told apart by a bit, which the solver chooses token by token.

    Members:
        row (in): payload, any bits.
        bits, bits_last, starts, drops, refused, place, entry, pick (in): any.
        rows_valid, entries_valid, chosen_valid, free_valid, takes_moved, takes_departure, takes_close,
            takes_row (in): any stalls.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        streams = ("rows_valid", "entries_valid", "chosen_valid", "free_valid")
        streams += ("takes_moved", "takes_departure", "takes_close", "takes_row")
        bits = ("bits_last", "starts", "drops", "refused", "entry")
        super().__init__(
            {
                "row": In(class_row(config)),
                "bits": In(selected_tokens(config)["chosen"].shape),
                "place": In(copy_place(config)),
                "pick": In(range(config.kv.page_tokens)),
                **{name: In(1) for name in (*streams, *bits)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.departures = own = Departures(self.config)
        starts = self.starts & own.idle
        m.d.comb += [
            Assume(~ResetSignal()),
            own.starts.eq(starts),
            own.drops.eq(self.drops),
            own.refused.eq(self.refused),
            own.place.eq(self.place),
            own.rows.payload.eq(self.row),
            own.rows.valid.eq(self.rows_valid),
            own.entries.payload.index.eq(self.entry),
            own.entries.valid.eq(self.entries_valid),
            own.chosen.payload.chosen.eq(self.bits),
            own.chosen.payload.last.eq(self.bits_last),
            own.chosen.valid.eq(self.chosen_valid),
            own.free.valid.eq(self.free_valid),
            own.moved.ready.eq(self.takes_moved),
            own.departures.ready.eq(self.takes_departure),
            own.closes.ready.eq(self.takes_close),
            own.kept.ready.eq(self.takes_row),
        ]
        m.submodules.moved_rules = StreamRules(own.moved, Assert)
        m.submodules.departure_rules = StreamRules(own.departures, Assert)
        m.submodules.kept_rules = StreamRules(own.kept, Assert)
        drops = Signal()
        with m.If(starts):
            m.d.sync += drops.eq(self.drops)
        self._rows(m, own, starts, drops)
        return m

    def _rows(self, m: Module, own: Departures, starts: Value, drops: Value) -> None:
        """Follow the row at work."""
        tokens = self.config.kv.page_tokens
        row, busy = Signal(class_row(self.config)), Signal()
        enters = own.rows.valid & own.rows.ready
        answers = own.kept.valid & own.kept.ready
        with m.If(enters):
            m.d.sync += [row.eq(self.row), busy.eq(1)]
        with m.Elif(answers):
            m.d.sync += busy.eq(0)
        told, entries = self._told(m, own, row, enters)
        kept = own.kept.payload
        left = Signal(tokens)
        m.d.comb += [left.eq(row.live & ~kept.live), Assert(~enters | ~busy), Assert(~own.kept.valid | busy)]
        self._copies(m, own, starts, drops, left, told, enters)
        below = (Const(1, tokens + 1) << self.pick) - 1
        rank = count_ones(left & below[:tokens])
        picked = left.bit_select(self.pick, 1)
        with m.If(own.kept.valid):
            m.d.comb += [
                Assert((kept.live & ~row.live) == 0),
                Assert(count_ones(left) == told.count),
                Assert(~picked | (Array(told.entries)[rank] == Array(entries)[self.pick])),
                Assert(kept.freed == ((row.live != 0) & (kept.live == 0) & ~row.waits)),
                Assert(kept.last == row.last),
            ]

    def _told(self, m: Module, own: Departures, row: Value, enters: Value) -> tuple["_Told", Value]:
        """Tokens that were told since the row came, and the entries of its places."""
        tokens = self.config.kv.page_tokens
        seen, entries = Signal(tokens), Signal(tokens)
        told = _Told(tokens)
        appears, stalled = Signal(), Signal()
        following = Signal(tokens)
        m.d.sync += stalled.eq(own.moved.valid & ~own.moved.ready)
        ahead = row.live & ~seen
        m.d.comb += [
            appears.eq(own.moved.valid & ~stalled & ~own.moved.payload.last),
            following.eq(ahead & ~(ahead - 1)),
            Assert(~own.entries.ready | (ahead != 0)),
        ]
        with m.If(own.entries.valid & own.entries.ready):
            m.d.sync += [
                seen.eq(seen | following),
                entries.eq((entries & ~following) | Mux(self.entry, following, 0)),
            ]
        with m.If(appears):
            m.d.sync += told.count.eq(told.count + 1)
            m.d.sync += told.entries.bit_select(told.count, 1).eq(own.moved.payload.entry.index[0])
        with m.If(enters):
            m.d.sync += [seen.eq(0), told.count.eq(0)]
            m.d.comb += Assert(~appears)
        told.appears = appears
        return told, entries

    def _copies(
        self,
        m: Module,
        own: Departures,
        starts: Value,
        drops: Value,
        left: Value,
        told: "_Told",
        enters: Value,
    ) -> None:
        """Follow places, departures and closes."""
        tokens = self.config.kv.page_tokens
        inner = exact_log2(tokens)
        following, first = Signal(copy_place(self.config)), Signal(copy_place(self.config))
        waiting, half = Signal(range(2 * tokens)), Signal()
        departed = Signal()
        leaving = Signal(tokens)
        goes = own.departures.payload
        closes = own.closes.valid & own.closes.ready
        with m.If(told.appears & ~drops):
            m.d.comb += Assert(own.moved.payload.place == following)
            m.d.sync += [following.eq(following + 1), waiting.eq(waiting + 1)]
        with m.If(closes):
            m.d.comb += [
                Assert((waiting >= tokens) & own.free.ready & self.free_valid),
                Assert(own.closes.payload.half == half),
            ]
            m.d.sync += [waiting.eq(waiting - tokens), half.eq(~half)]
        m.d.comb += Assert(~(own.free.ready & self.free_valid) | closes)
        with m.If(starts):
            m.d.sync += [
                following.eq(self.place),
                waiting.eq(self.place[:inner]),
                half.eq(self.place[inner]),
            ]
        with m.If(enters):
            m.d.sync += [departed.eq(0), first.eq(following)]
        with m.If(own.departures.valid):
            m.d.comb += [Assert(~departed), Assert(drops | (goes.place == first))]
            with m.If(own.departures.ready):
                m.d.sync += [departed.eq(1), leaving.eq(goes.leaving)]
        with m.If(own.kept.valid):
            m.d.comb += [
                Assert(drops | (departed == (left != 0))),
                Assert(~departed | (leaving == left)),
                Assert(waiting < tokens),
            ]


class _Told:
    """How many tokens of a row were told, and the bits of their entries."""

    def __init__(self, tokens: int) -> None:
        self.count = Signal(range(tokens + 1), name="told")
        self.entries = Signal(tokens, name="told_entries")
        self.appears: Value = Const(0)
