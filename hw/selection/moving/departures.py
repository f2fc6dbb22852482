"""Departures: which tokens leave the pages of a class, page after page, and where they go.

Meaning: ``golden.selection.classes.Classes.move``, for the tokens of one class. Nothing is known here of keys
and values: what reads and writes them is told page by page, and each page is told when all of it is done.
"""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.selection.moving.payloads import (
    class_row,
    closed_page,
    copy_place,
    departure,
    kept_row,
    moved_token,
    token_entry,
)
from hw.selection.payloads import score_lanes, selected_tokens

__all__ = ["Departures"]


class _Parts(NamedTuple):
    """What the states of a move look at, and drive.

    Attributes:
        walks: places of a row are looked at.
        step: the next place follows.
        drains, drained: the rest of the bitmap is taken, has been.
        room: a token can be told.
        dropping, keeping: of the move: its tokens are dropped; none leaves.
    """

    walks: Signal
    step: Value
    drains: Signal
    drained: Value
    room: Value
    dropping: Signal
    keeping: Signal


class Departures(wiring.Component):
    """Walk through the page table of a class, a place a cycle.

    A token that leaves takes the next place of the target's copies. A page's tokens are told in one
    ``departures``, which is taken when they have been written; then the copy that has become full is told in
    ``closes``, taken when the page is there; then the row in ``kept``. So a page is free only when nobody
    reads it any more, and at most one copy is full. Where tokens are dropped only those that wait are told,
    if some of them stay and move up.

    Members:
        starts (in): a move begins: ``drops``, ``refused`` and ``place`` are looked at. Only while ``idle``.
        drops (in): tokens are dropped.
        refused (in): no token leaves.
        place (in): of the target's next token.
        next_place (out): after the tokens that have left.
        idle (out): no move is under way.
        rows (in stream): the page table, a row that waits as its last one.
        entries (in stream): of the live tokens of each row.
        chosen (in stream): a bit for each live token, in the same order; tokens beyond the last one stay.
        free (in stream): pages that the target may take, in order; each is taken once it has been filled.
        moved (out stream): the tokens that leave.
        departures (out stream): where they lie and where they go.
        closes (out stream): copies that are full.
        kept (out stream): the page table after it, each row of ``rows``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        place = copy_place(config)
        super().__init__(
            {
                "starts": In(1),
                "drops": In(1),
                "refused": In(1),
                "place": In(place),
                "next_place": Out(place),
                "idle": Out(1),
                "rows": In(stream.Signature(class_row(config))),
                "entries": In(stream.Signature(token_entry)),
                "chosen": In(stream.Signature(selected_tokens(config))),
                "free": In(stream.Signature(kept_row(config)["page"].shape)),
                "moved": Out(stream.Signature(moved_token(config))),
                "departures": Out(stream.Signature(departure(config))),
                "closes": Out(stream.Signature(closed_page(config))),
                "kept": Out(stream.Signature(kept_row(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tokens = self.config.kv.page_tokens
        row = Signal(class_row(self.config), reset_less=True)  # ``live`` turns as it is walked through
        leaving = Signal(tokens, reset_less=True)
        first = Signal.like(self.next_place, reset_less=True)  # place of the row's first token that leaves
        number = Signal(range(tokens))
        dropping = Signal(reset_less=True)
        keeping = Signal(reset_less=True)
        walks = Signal()
        drains = Signal()
        uses = Signal()  # a bit of the bitmap
        known, wanted, drained = self._bits(m, walks, uses, drains)
        leaves = Signal()
        step = Signal()
        here = row.live[0]
        room = ~self.moved.valid | self.moved.ready
        m.d.comb += [
            leaves.eq(here & wanted & ~keeping),
            self.entries.ready.eq(walks & here & known & (room | ~leaves)),
            uses.eq(self.entries.valid & self.entries.ready),
            step.eq(walks & (~here | uses)),
        ]
        self._move(m, room, uses & leaves, dropping)
        m.d.comb += self._tell(row, leaving, first)
        with m.If(step):
            m.d.sync += [
                row.live.eq(Cat(row.live[1:], row.live[0])),
                leaving.eq(Cat(leaving[1:], leaves)),
                number.eq(number + 1),
            ]
        parts = _Parts(walks, step, drains, drained, room, dropping, keeping)
        self._follow(m, row, leaving, first, number, parts)
        return m

    def _follow(
        self, m: Module, row: data.View, leaving: Value, first: Signal, number: Signal, parts: "_Parts"
    ) -> None:
        """A row: walked through, its tokens moved, a full copy closed, then told."""
        walks, step, drains, drained, room, dropping, keeping = parts
        wraps = first[-1] != self.next_place[-1]
        moves_up = row.waits & (row.live != leaving)
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [dropping.eq(self.drops), keeping.eq(self.refused)]
                with m.If(self.starts):
                    m.d.sync += self.next_place.eq(self.place)
                    m.next = "row"
            with m.State("row"):
                m.d.comb += self.rows.ready.eq(1)
                m.d.sync += [row.eq(self.rows.payload), first.eq(self.next_place), number.eq(0)]
                with m.If(self.rows.valid):
                    m.next = "walk"
            with m.State("walk"):
                m.d.comb += walks.eq(1)
                with m.If(step & number.all()):
                    m.next = "settle"
            with m.State("settle"):
                m.next = "departures"
                with m.If((leaving == 0) | (dropping & ~moves_up)):
                    m.next = "kept"
            with m.State("departures"):
                m.d.comb += self.departures.valid.eq(1)
                with m.If(self.departures.ready):
                    m.next = "closes"
                    with m.If(~wraps):
                        m.next = "kept"
            with m.State("closes"):
                m.d.comb += [
                    self.closes.valid.eq(self.free.valid),
                    self.free.ready.eq(self.closes.ready),
                ]
                with m.If(self.closes.valid & self.closes.ready):
                    m.next = "kept"
            with m.State("kept"):
                m.d.comb += self.kept.valid.eq(1)
                with m.If(self.kept.ready):
                    m.next = "row"
                    with m.If(row.last):
                        m.next = "drain"
            with m.State("drain"):
                m.d.comb += drains.eq(1)
                with m.If(drained):
                    m.next = "end"
            with m.State("end"), m.If(room):
                m.d.sync += [self.moved.valid.eq(1), self.moved.payload.last.eq(1)]
                m.next = "idle"

    def _tell(self, row: data.View, leaving: Value, first: Value) -> list:
        """What the outputs say of a row."""
        departures, kept = self.departures.payload, self.kept.payload
        return [
            departures.page.eq(row.page),
            departures.waits.eq(row.waits),
            departures.live.eq(row.live),
            departures.leaving.eq(leaving),
            departures.place.eq(first),
            self.closes.payload.page.eq(self.free.payload),
            self.closes.payload.half.eq(first[-1]),
            kept.page.eq(row.page),
            kept.waits.eq(row.waits),
            kept.last.eq(row.last),
            kept.live.eq(row.live & ~leaving),
            kept.freed.eq((leaving != 0) & (row.live == leaving) & ~row.waits),
        ]

    def _move(self, m: Module, room: Value, leaves: Value, drops: Value) -> None:
        """Tell a token that leaves, with its place."""
        with m.If(room):
            m.d.sync += self.moved.valid.eq(leaves)
        with m.If(leaves):
            m.d.sync += [
                self.moved.payload.last.eq(0),
                self.moved.payload.entry.eq(self.entries.payload),
                self.moved.payload.place.eq(self.next_place),
                self.next_place.eq(self.next_place + ~drops),
            ]

    def _bits(self, m: Module, walks: Value, uses: Value, drains: Value) -> tuple[Value, Value, Value]:
        """The bitmap, bit by bit.

        Returns:
            Whether the next bit is known; the bit, 0 behind the last one; while it ``drains``, whether all of
            it has come.
        """
        lanes = score_lanes(self.config)
        bits = Signal(lanes, reset_less=True)
        left = Signal(range(lanes + 1))
        began = Signal()  # words of the move's bitmap have come
        ended = Signal()  # its last one has
        empty = Signal()
        drained = Signal()
        m.d.comb += [
            empty.eq((left == 0) | ((left == 1) & uses)),
            drained.eq(ended | ~began),
            self.chosen.ready.eq(~ended & ((walks & empty) | (drains & began))),
        ]
        with m.If(uses):
            m.d.sync += [bits.eq(bits >> 1), left.eq(left - (left != 0))]
        with m.If(self.chosen.valid & self.chosen.ready):
            m.d.sync += [
                bits.eq(self.chosen.payload.chosen),
                left.eq(lanes),
                began.eq(1),
                ended.eq(self.chosen.payload.last),
            ]
        with m.If(drains & drained):
            m.d.sync += [left.eq(0), began.eq(0), ended.eq(0)]
        return (left != 0) | ended, (left != 0) & bits[0], drained
