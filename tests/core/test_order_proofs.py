"""Proofs about commands and their records, on small rings and words: for all inputs and all time."""

import pytest
from amaranth.hdl import Module, Value

from hw.core import completions, fetch
from hw.core.completions import Completions
from hw.core.fetch import Fetch
from sim import formal
from sim.proofs.accesses import SMALL, small_config
from sim.proofs.completions import RecordsInOrder
from sim.proofs.fetch import GIVEN, CommandsInOrder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    for module in (completions, fetch):
        monkeypatch.setattr(module, "LINE_BITS", 3)
    monkeypatch.setattr(fetch, "GIVEN", GIVEN)
    monkeypatch.setattr(completions, "WAITING", 2)


def also(monkeypatch: pytest.MonkeyPatch, kind: type, change) -> None:
    """Let a circuit do something else too."""
    elaborate = kind.elaborate

    def changed(self: Completions | Fetch, platform: object) -> Module:
        m = elaborate(self, platform)
        change(m, self)
        return m

    monkeypatch.setattr(kind, "elaborate", changed)


def test_records_are_written_once_and_in_order() -> None:
    assert formal.prove(RecordsInOrder(small_config())) > 0


@pytest.mark.long
def test_commands_are_given_once_and_in_order() -> None:
    assert formal.prove(CommandsInOrder(small_config())) > 0


def refuted(claims: RecordsInOrder | CommandsInOrder) -> None:
    with pytest.raises(formal.Refuted):
        formal.prove(claims)


def test_records_at_one_place_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Completions, "_behind", lambda self, m, place: place)
    refuted(RecordsInOrder(small_config()))


def test_records_that_are_not_waited_for_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of when they are given to the write mover."""

    def tells(m: Module, own: Completions) -> None:
        with m.If(own.writes.valid & own.writes.ready):
            m.d.sync += own.head.eq(own.head + 1)

    also(monkeypatch, Completions, tells)
    refuted(RecordsInOrder(small_config()))


def test_lost_records_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken while the one before is not written."""

    def takes(m: Module, own: Completions) -> None:
        m.d.comb += own.records.ready.eq(1)

    also(monkeypatch, Completions, takes)
    refuted(RecordsInOrder(small_config()))


def test_a_ring_without_an_end_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "Mux", lambda choice, one, other: other)
    refuted(CommandsInOrder(small_config()))


def test_lost_commands_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their words are taken while the one before is decided."""

    def takes(m: Module, own: Fetch) -> None:
        m.d.comb += own.words.ready.eq(1)

    also(monkeypatch, Fetch, takes)
    refuted(CommandsInOrder(small_config()))


def test_commands_too_many_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "GIVEN", GIVEN + 1)
    refuted(CommandsInOrder(small_config()))


@pytest.mark.long
@pytest.mark.parametrize("name", ["commands", "weights"])
def test_changing_offers_are_refuted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def changes(m: Module, own: Fetch) -> None:
        offer = getattr(own, name)
        content: Value = offer.p.bits[-1] if name == "commands" else offer.p.line[0]
        with m.If(offer.valid & ~offer.ready):
            m.d.sync += content.eq(~content)

    also(monkeypatch, Fetch, changes)
    refuted(CommandsInOrder(small_config()))
