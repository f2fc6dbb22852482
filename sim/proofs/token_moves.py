"""Properties of a move of tokens: none is lost or there twice, no page is freed twice."""

from amaranth.hdl import Array, Assert, Assume, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.config import Config
from hw.selection.moving.departures import Departures
from hw.selection.moving.payloads import class_row, copy_place
from hw.selection.payloads import selected_tokens
from hw.selection.token_marks import count_ones
from sim.proofs.kv_codec import StreamRules

__all__ = ["TokensMove", "moving_config"]


def moving_config(tokens: int) -> Config:
    """`tiny` with pages of so many tokens, a power of two; proofs use shorter ones than memories do."""
    config = Config().model_copy(update={"memory_bits": 64})
    return config.model_copy(update={"kv": config.kv.model_copy(update={"page_tokens": tokens})})


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
