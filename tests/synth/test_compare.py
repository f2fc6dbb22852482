"""Comparisons over several clocks and libraries: periods, names of files, the table of all of them."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from synth import command, render, targets
from synth.area import AreaReport
from synth.compare import __main__ as compare
from synth.compare import overview, pictures
from synth.compare.results import Comparison, Measured
from synth.power.energy import Energy
from synth.timing import Timing


class Toggle(wiring.Component):
    """A flip-flop that changes with its input."""

    x: In(1)
    y: Out(1)

    def elaborate(self, platform):
        m = Module()
        state = Signal()
        m.d.sync += state.eq(state ^ self.x)
        m.d.comb += self.y.eq(state)
        return m


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal blocks, of which one is twice as fast."""
    fake = SimpleNamespace(
        names=lambda: ("tile", "accelerator", "fp16_dot"),
        baselines=lambda: ("fp16_dot",),
        get=lambda name: lambda config: Toggle(),
        macs_per_cycle=lambda name, config: {"fp16": 1.0} if name == "fp16_dot" else {"int4": 2.0},
    )
    monkeypatch.setitem(sys.modules, "hw.blocks", fake)


def measured(label: str, area: float, period: float, slowest: float, energy: float = 0.0) -> Measured:
    timing = Timing("OpenSTA", slowest, period - slowest)
    report = AreaReport(label, "cells", "um2", period, "flat", area, 0, 1, 1, timing, ())
    result = render.Result(report, {"int4": 1.0})
    return Measured(label, label, "", result, Energy("int4", energy, {}, {}, 1.0) if energy else None)


def comparison(period: float, ours: float, theirs: float, slowest: float = 0.9) -> Comparison:
    baseline = measured("mac", theirs, period, slowest, energy=3.0)
    return Comparison("cells", "int4", (measured("tile", ours, period, 0.9, energy=1.5),), (baseline,))


def test_periods_in_nanoseconds_and_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(targets.parse("generic"), period=4.5)
    monkeypatch.setattr(targets, "parse", lambda name: slow)
    assert command.clock("2.5").on("any") == 2.5
    assert command.clock("2x").on("any") == 9.0


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("period", ["0x", "x", "2y", "1001"])
def test_wrong_periods_are_one_line(period: str, refusal) -> None:
    _, error = refusal(compare.main, ["--preset", "tiny", "--period", "1", period])
    assert f"--period: {period!r} must be a number above 0 and at most 1000 (ns)" in error


@pytest.mark.usefixtures("blocks")
def test_several_clocks_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal periods once; every clock has its files; the table of all comes first."""
    assert (
        compare.main(["--preset", "tiny", "--period", "1", "2x", "--period", "1.0", "--out", str(tmp_path)])
        == 0
    )
    entries = json.loads((tmp_path / "comparison.json").read_text())
    assert [one["period"] for one in entries] == [1.0, 2.0]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"areas-generic-1ns.json", "areas-generic-2ns.json", "clocks.png"} <= names
    assert json.loads((tmp_path / "areas-generic-2ns.json").read_text())["period"] == 2.0
    area = entries[0]["designs"][1]["area_per_mac"]
    row = f"| fp16_dot | {area:.2f} (2.00) | {area:.2f} (2.00) |"
    text = (tmp_path / "comparison.md").read_text()
    assert text.startswith("# GE per MAC/cycle, int4, with the ratio to tile")
    assert row in text
    assert "a star marks a clock that is missed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("blocks")
def test_further_blocks_stand_beside_the_first(tmp_path: Path) -> None:
    """Each once, between the block and the baselines, and the tile stays what ratios are relative to."""
    assert compare.main(["--preset", "tiny", "--also", "accelerator", "tile", "--out", str(tmp_path)]) == 0
    (entry,) = json.loads((tmp_path / "comparison.json").read_text())
    assert [one["name"] for one in entry["designs"]] == ["tile", "accelerator", "fp16_dot"]
    assert [one["area_to_the_first"] for one in entry["designs"]] == [1.0, 1.0, 2.0]


def test_a_single_comparison_has_no_table_of_all() -> None:
    one = comparison(1.0, 100, 600)
    assert list(overview.tables([one])) == []
    assert overview.markdown([one], []) == ""
    assert overview.stems([one]) == ["cells"]


def test_table_of_all_comparisons() -> None:
    given = [comparison(1.0, 100, 600, slowest=1.2), comparison(2.0, 90, 400)]
    (_, heads, areas), (_, _, energies) = overview.tables(given)
    assert heads == ("design", "cells, 1 ns", "cells, 2 ns")
    assert areas == [("tile", "100", "90"), ("mac", "600* (6.00)", "400 (4.44)")]
    assert energies == [("tile", "1.500", "1.500"), ("mac", "3.000 (2.00)", "3.000 (2.00)")]
    assert overview.stems([*given, replace(given[0], target="other")]) == ["cells-1ns", "cells-2ns", "other"]


def test_picture_of_all_comparisons(tmp_path: Path) -> None:
    given = [comparison(1.0, 100, 600, slowest=1.2), comparison(2.0, 90, 400)]
    assert pictures.draw_clocks(given[:1], tmp_path) == []
    assert pictures.draw_clocks(given, tmp_path) == ["clocks.png"]
    assert (tmp_path / "clocks.png").read_bytes().startswith(b"\x89PNG")
