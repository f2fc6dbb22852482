"""Proof that steady groups of dot products find their places, on a small array: for all time."""

import pytest
from amaranth.hdl import Module, Signal, Value

from hw.config import Config, KvConfig, preset
from hw.pe.array import Array
from sim import formal
from sim.proofs.steady_groups import SteadyGroups


def small(waiting_groups: int) -> Config:
    """Control is the same for any codes and any length of words."""
    return preset("tiny").changed(
        attention=True,
        types=("int4",),
        activation_bits=8,
        waiting_groups=waiting_groups,
        kv=KvConfig(channels=16, queries=2),
    )


def test_steady_groups() -> None:
    assert formal.prove(SteadyGroups(small(0))) > 0


@pytest.mark.long
def test_steady_groups_behind_one_that_waits() -> None:
    assert formal.prove(SteadyGroups(small(1)), seconds=900) > 0


@pytest.mark.parametrize("waiting_groups", [0, 1])
def test_groups_of_another_kind_are_refuted(monkeypatch: pytest.MonkeyPatch, waiting_groups: int) -> None:
    """An array that looks at the group at hand only."""

    def steady(array: Array, m: Module, last_term: Value, occupied: Signal) -> Value:
        return array.chunks.payload.steady & array.settled

    monkeypatch.setattr(Array, "_steady", steady)
    with pytest.raises(formal.Refuted):
        formal.prove(SteadyGroups(small(waiting_groups)))
