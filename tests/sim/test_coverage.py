"""Functional coverage: merging, empty bins, the command line."""

from pathlib import Path

import pytest

from sim import coverage
from sim.coverage import Coverage

AXES = {"size": (1, 2), "last": (False, True)}


def recorded(directory: Path, name: str, *bins: dict[str, int | bool]) -> None:
    plan = Coverage("packets", AXES, impossible=lambda size, last: size == 2 and last)
    for values in bins:
        plan.hit(**values)
    plan.save(directory / f"{name}.json")


def test_runs_are_merged(tmp_path: Path) -> None:
    recorded(tmp_path, "a", {"size": 1, "last": False}, {"size": 1, "last": False})
    recorded(tmp_path, "b", {"size": 1, "last": False}, {"size": 2, "last": False})
    [plan] = coverage.merge(tmp_path)
    assert plan.hits == {(1, False): 3, (1, True): 0, (2, False): 1}
    assert plan.empty == [(1, True)]
    assert plan.runs == 2


def test_command_names_empty_bins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, "a", {"size": 1, "last": False}, {"size": 2, "last": False})
    assert coverage.main([str(tmp_path)]) == 1
    assert "1 True" in capsys.readouterr().out
    recorded(tmp_path, "b", {"size": 1, "last": True})
    assert coverage.main([str(tmp_path)]) == 0


def test_command_without_runs(tmp_path: Path) -> None:
    assert coverage.main([str(tmp_path)]) == 1


@pytest.mark.parametrize("values", [{"size": 3, "last": False}, {"size": 2, "last": True}, {"size": 1}])
def test_unplanned_bin_is_an_error(values: dict[str, int | bool]) -> None:
    plan = Coverage("packets", AXES, impossible=lambda size, last: size == 2 and last)
    with pytest.raises(ValueError, match=r"^coverage packets has no bin"):
        plan.hit(**values)
