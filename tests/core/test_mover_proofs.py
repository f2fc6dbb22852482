"""Proofs about the movers, on small ones: for all inputs and all time."""

from typing import Any

import pytest
from amaranth.hdl import Const, Module, Value

from hw.core import read_mover
from hw.core.read_mover import Client, ReadMover
from hw.core.write_mover import WriteMover
from sim import formal
from sim.proofs.accesses import SMALL, small_config
from sim.proofs.read_mover import AccessesOfReads, AnyClient, RoomForWords
from sim.proofs.write_mover import AccessesOfWrites


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)


DEPTH = 5
"""Words of a FIFO: more than a burst, not a multiple of it."""


def test_words_have_room() -> None:
    assert formal.prove(RoomForWords(small_config(), DEPTH)) > 0


def test_reads_are_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_mover, "Client", AnyClient)
    assert formal.prove(AccessesOfReads(small_config())) > 0


def test_writes_are_legal() -> None:
    assert formal.prove(AccessesOfWrites(small_config())) > 0


def always(self: object, *arguments: Value) -> Value:
    return Const(1)


def test_bursts_without_room_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "_fits", always)
    with pytest.raises(formal.Refuted):
        formal.prove(RoomForWords(small_config(), DEPTH))


def test_bursts_across_borders_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "_to_border", lambda self, place: Const(self.longest))
    with pytest.raises(formal.Refuted):
        formal.prove(RoomForWords(small_config(), DEPTH))


def test_reads_outside_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line too many."""
    monkeypatch.setattr(Client, "_is_inside", lambda self, end, words: (end - 1 <= self.limit) & words.any())
    with pytest.raises(formal.Refuted):
        formal.prove(RoomForWords(small_config(), DEPTH))


def test_bursts_too_many_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = ReadMover._ask

    def forgets(self: ReadMover, *arguments: Any) -> None:
        ask(self, *arguments[:-1], Const(1))

    monkeypatch.setattr(read_mover, "Client", AnyClient)
    monkeypatch.setattr(ReadMover, "_ask", forgets)
    with pytest.raises(formal.Refuted):
        formal.prove(AccessesOfReads(small_config()))


def test_a_client_that_is_idle_early_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WriteMover, "_under_way", lambda *_: Const(0))
    with pytest.raises(formal.Refuted):
        formal.prove(AccessesOfWrites(small_config()))


def test_writes_outside_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WriteMover, "_is_inside", lambda self, line: line <= self.limit)
    with pytest.raises(formal.Refuted):
        formal.prove(AccessesOfWrites(small_config()))


@pytest.mark.parametrize("mover", [ReadMover, WriteMover])
def test_changing_addresses_are_refuted(monkeypatch: pytest.MonkeyPatch, mover: type) -> None:
    elaborate = mover.elaborate

    def changes(self: ReadMover | WriteMover, platform: object) -> Module:
        m = elaborate(self, platform)
        letter = "r" if mover is ReadMover else "w"
        valid, ready, address = (getattr(self.axi, f"a{letter}{name}") for name in ("valid", "ready", "addr"))
        with m.If(valid & ~ready):
            m.d.sync += address[6].eq(~address[6])
        return m

    monkeypatch.setattr(read_mover, "Client", AnyClient)
    monkeypatch.setattr(mover, "elaborate", changes)
    with pytest.raises(formal.Refuted):
        formal.prove((AccessesOfReads if mover is ReadMover else AccessesOfWrites)(small_config()))
