"""Proofs about the dispatcher: for all commands, all units and all time."""

import pytest
from amaranth.hdl import Const, Module

from hw.config import preset
from hw.core import record_order
from hw.core.dispatcher import Dispatcher
from hw.core.record_order import RecordOrder
from sim import formal
from sim.proofs.dispatcher import CommandsRecorded

WAITING = 2
INSIDE = WAITING + 4
"""Commands without a record: one in hand, a MATVEC, and those whose records wait."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_order, "WAITING_RECORDS", WAITING)


def test_records_in_order() -> None:
    assert formal.prove(CommandsRecorded(preset("tiny"), INSIDE)) > 0


def refuted() -> None:
    with pytest.raises(formal.Refuted):
        formal.prove(CommandsRecorded(preset("tiny"), INSIDE))


def test_records_as_they_come_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a MATVEC behind those that are there."""
    elaborate = RecordOrder.elaborate

    def late(self: RecordOrder, platform: object) -> Module:
        m = elaborate(self, platform)
        m.d.comb += self.none.eq(1)
        return m

    monkeypatch.setattr(RecordOrder, "elaborate", late)
    refuted()


def test_anything_beside_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "_may_begin", lambda self, m, command, multiplies: Const(1))
    refuted()
