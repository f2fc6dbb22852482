"""Proofs of mover and selector, with pages of four tokens: for all tables, bitmaps, stalls, and all time."""

from collections.abc import Callable

import pytest
from amaranth.hdl import Module, Value, ValueLike

from hw.selection.moving.departures import Departures
from hw.selection.token_marks import TokenMarks
from sim import formal
from sim.proofs.selected_count import AsManyAsWanted
from sim.proofs.token_moves import TokensMove, moving_config

SMALL = moving_config(4)


def test_no_token_is_lost_or_there_twice() -> None:
    assert formal.prove(TokensMove(SMALL)) > 0


def test_a_token_that_overtakes_another_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    move = Departures._move
    monkeypatch.setattr(Departures, "_move", lambda self, m, room, *rest: move(self, m, Value.cast(1), *rest))
    with pytest.raises(formal.Refuted):
        formal.prove(TokensMove(SMALL))


def _changed(
    monkeypatch: pytest.MonkeyPatch, stream: str = "kept", **others: Callable[[Departures], ValueLike]
) -> None:
    """Other values of a payload's fields, by default of the answer's."""
    elaborate = Departures.elaborate

    def changes(self: Departures, platform: object) -> Module:
        m = elaborate(self, platform)
        for name, value in others.items():
            m.d.comb += getattr(self, stream).payload[name].eq(value(self))
        return m

    monkeypatch.setattr(Departures, "elaborate", changes)


def test_a_token_in_two_places_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed(monkeypatch, live=lambda self: self.departures.payload.live)
    with pytest.raises(formal.Refuted):
        formal.prove(TokensMove(SMALL))


def test_an_empty_page_freed_again_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed(monkeypatch, freed=lambda self: self.kept.payload.live == 0)
    with pytest.raises(formal.Refuted):
        formal.prove(TokensMove(SMALL))


def test_the_wrong_copy_closed_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed(monkeypatch, "closes", half=lambda self: self.place[-1])
    with pytest.raises(formal.Refuted):
        formal.prove(TokensMove(SMALL))


def test_as_many_are_chosen_as_are_wanted() -> None:
    assert formal.prove(AsManyAsWanted(SMALL)) > 0


def test_one_too_many_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    elaborate = TokenMarks.elaborate

    def adds(self: TokenMarks, platform: object) -> Module:
        m = elaborate(self, platform)
        m.d.comb += self.used.eq(self.equal[0])  # of two at the border one counts
        return m

    monkeypatch.setattr(TokenMarks, "elaborate", adds)
    with pytest.raises(formal.Refuted):
        formal.prove(AsManyAsWanted(SMALL))
