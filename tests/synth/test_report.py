"""Synthesis reports on small circuits whose cost can be counted by hand."""

import gzip
import json
import sys
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from rich.console import Console

from golden import optional
from hw.verilog import convert
from synth import asic, hierarchy, liberty, picture, place, render, report, targets, yosys
from synth.compare import __main__ as compare
from synth.measure import measure
from synth.model import areas

NF = (asic.Recipe(mapper="nf"),)


class Gates(wiring.Component):
    """Two NANDs, an XOR and a flip-flop."""

    a: In(1)
    b: In(1)
    c: In(1)
    y: Out(2)
    q: Out(1)

    def elaborate(self, platform):
        m = Module()
        q = Signal(reset_less=True)
        m.d.comb += [self.y.eq((~(self.a & self.b)) | (~(self.b & self.c)) << 1), self.q.eq(q)]
        m.d.sync += q.eq(self.a ^ self.c)
        return m


class Sum(wiring.Component):
    """Registered sum of unsigned operands."""

    def __init__(self, operands: int, width: int):
        super().__init__({"x": In(operands * width), "y": Out(width + operands.bit_length())})
        self.operands, self.width = operands, width

    def elaborate(self, platform):
        m = Module()
        total = Signal.like(self.y, reset_less=True)
        m.d.sync += total.eq(sum(self.x.word_select(i, self.width) for i in range(self.operands)))
        m.d.comb += self.y.eq(total)
        return m


class Store(wiring.Component):
    """A memory, two equal counters and a different one."""

    address: In(6)
    data: In(32)
    write: In(1)
    y: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=64, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.submodules.count_0, m.submodules.count_1 = counters = [Counter(3), Counter(3)]
        m.submodules.wide = wide = Counter(5)
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.data),
            write.en.eq(self.write),
            read.addr.eq(self.address),
            read.en.eq(1),
            self.y.eq(read.data ^ counters[0].y ^ counters[1].y ^ wide.y),
        ]
        for counter in (*counters, wide):
            m.d.comb += counter.step.eq(self.data[0])
        return m


class Counter(wiring.Component):
    def __init__(self, width: int):
        super().__init__({"step": In(1), "y": Out(width)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.step):
            m.d.sync += self.y.eq(self.y + 1)
        return m


def small_library(adder: str) -> str:
    """The generic library with another full adder cell (or none) in place of its own."""
    text = targets.generic_liberty()
    start = text.index("cell (FA)")
    return text[:start] + adder + text[text.index("cell (DFF)") :]


INVERTED_ADDER = """cell (ADD_SMALL) { area : 3;
  pin (P) { direction : input; } pin (Q) { direction : input; } pin (R) { direction : input; }
  pin (SN) { direction : output; function : "!(P ^ Q ^ R)"; }
  pin (CN) { direction : output; function : "(P' Q') + (Q' R') + (P' R')"; } }
"""


class Toggle(wiring.Component):
    """A register that is inverted in every cycle."""

    q: Out(1)

    def elaborate(self, platform):
        m = Module()
        q = Signal(reset_less=True)
        m.d.sync += q.eq(~q)
        m.d.comb += self.q.eq(q)
        return m


@pytest.fixture(scope="module")
def store():
    """The memory and its counters on generic gates."""
    return measure(Store(), "store", recipes=NF)


def test_generic_area_is_the_hand_count():
    found = measure(Gates(), "gates", recipes=NF)
    assert found.area == pytest.approx(2 * 1.00 + 2.00 + 5.67)
    assert (found.unit, found.flip_flops, found.cells) == ("GE", 1, 4)


def test_every_step_is_deterministic():
    first, second = (measure(Sum(5, 6), "adder", recipes=NF).to_dict() for _ in range(2))
    assert first == second


def test_large_memories_are_bits_and_small_ones_are_flip_flops(store):
    assert store.memory_bits == 64 * 32
    assert store.flip_flops < 64
    counted = {part.name: (part.instances, part.flip_flops) for part in store.components}
    assert counted == {"store": (1, 0), "count": (2, 6), "wide": (1, 5)}


def test_own_areas_add_up_to_the_total(store):
    top = next(part for part in store.components if part.name == "store")
    assert sum(part.own_area for part in store.components) == pytest.approx(top.total_area)
    assert store.area == pytest.approx(top.total_area)
    for part in store.components:
        assert sum(part.areas.values()) == pytest.approx(part.own_area)


def test_a_sum_of_many_operands_uses_full_adder_cells(tmp_path):
    inverted = tmp_path / "inverted.lib.gz"
    inverted.write_bytes(gzip.compress(small_library(INVERTED_ADDER).encode()))
    found = measure(Sum(8, 8), "adder", str(inverted), 10.0, recipes=(asic.Recipe(mapper="nf"),))
    # 64 operand bits become at most 2 * 11: each full adder takes one bit away
    assert 38 <= found.counts["ADD_SMALL"] <= 50
    without = measure(
        Sum(8, 8), "adder", str(inverted), 10.0, recipes=(asic.Recipe(mapper="nf", adders="gates"),)
    )
    assert "ADD_SMALL" not in without.counts
    assert found.area < without.area


def test_a_library_without_full_adders_works(tmp_path):
    library = tmp_path / "plain.lib"
    library.write_text(small_library(""))
    assert liberty.full_adder(liberty.parse(library.read_text()).values()) is None
    assert measure(Sum(4, 4), "adder", str(library), 10.0, recipes=NF).area > 0


@pytest.mark.parametrize(
    ("function", "table"),
    [
        ("A*B", (0, 0, 0, 1)),
        ("A B", (0, 0, 0, 1)),
        ("!A | B'", (1, 1, 1, 0)),
        ("A ^ B", (0, 1, 1, 0)),
        ("(A + 0) & !(B ^ 1)", (0, 0, 0, 1)),
        ("A & C", None),
        ("(A", None),
    ],
)
def test_liberty_functions(function, table):
    assert liberty.truth_table(function, "AB") == table


def test_full_adders_whose_carry_is_unused_are_taken_apart():
    cells = {
        "used": {
            "type": "$fa",
            "connections": {"A": [2], "X": [3], "Y": [4]},
            "port_directions": {"A": "input"},
        },
        "half": {
            "type": "$fa",
            "connections": {"A": [3], "X": [5], "Y": [6]},
            "port_directions": {"A": "input"},
        },
    }
    for cell in cells.values():
        cell["port_directions"] |= {"X": "output", "Y": "output"}
    ports = {"y": {"direction": "output", "bits": [4, 6]}}
    assert asic.wasted_adders({"top": {"ports": ports, "cells": cells}}) == ["top/half"]


@pytest.mark.parametrize("family", sorted(targets.FPGAS))
def test_fpga_resources(family):
    found = measure(Store(), "store", family)
    assert found.flip_flops >= 11
    assert found.area >= 5
    assert found.counts.get("BRAM", 0) + found.counts.get("LUTRAM", 0) > 0
    assert found.memory_bits == 0


@pytest.mark.parametrize(
    ("modules", "instances", "name"),
    [
        (["t_lane_0_add", "t_lane_1_add"], 2, "lane_add"),
        (["t_lane0_0", "t_lane1_0"], 2, "lane"),
        (["t_fp16_mac_0", "t_fp16_mac_1"], 2, "fp16_mac"),
        (["t_lane_3"], 1, "lane_3"),
        (["t_lane_3"], 8, "lane"),
        (["t"], 1, "t"),
    ],
)
def test_component_names(modules, instances, name):
    assert hierarchy.component_name(modules, "t", instances) == name


def test_yosys_errors_are_one_line():
    with pytest.raises(yosys.YosysError) as caught:
        measure("module top(input a; endmodule\n", "top", recipes=NF)
    assert "\n" not in str(caught.value)


@pytest.fixture
def blocks(monkeypatch):
    """Two small blocks in place of the real ones."""
    components = {"tile": lambda config: Store(), "fp16_mac": lambda config: Sum(4, 4)}
    fake = SimpleNamespace(
        names=lambda: tuple(components),
        get=lambda name: components[name],
        macs_per_cycle=lambda name, config: {"int4": 4.0, "fp4": 8.0} if name == "tile" else {},
    )
    monkeypatch.setitem(sys.modules, "hw.blocks", fake)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "huge"], ["--preset", "'huge'", "tiny"]),
        (["--block", "table"], ["--block", "'table'", "tile"]),
        (["--target", "vhdl"], ["--target", "'vhdl'", "generic"]),
        (["--target", "missing.lib"], ["--target", "'missing.lib'", "No such file"]),
        (["--period", "0"], ["--period", "'0'", "above 0"]),
        (["--period", "fast"], ["--period", "'fast'", "above 0"]),
        (["--config", "missing.toml"], ["config", "missing.toml"]),
    ],
)
@pytest.mark.parametrize("program", [report, compare])
def test_wrong_arguments_are_one_line(program, arguments, words, refusal, tmp_path):
    out = tmp_path / "out"
    shown, error = refusal(program.main, [*arguments, "--out", str(out)])
    assert shown == ""
    assert all(word in error for word in words)
    assert not out.exists()


@pytest.mark.usefixtures("blocks")
def test_report_writes_everything(tmp_path, capsys):
    assert report.main(["--preset", "tiny", "--out", str(tmp_path / "out")]) == 0
    assert "count" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["area-tile-tiny-on-generic.png", "report.json", "report.md"]
    (entry,) = json.loads((tmp_path / "out" / "report.json").read_text())
    assert entry["area_per_mac_per_cycle"]["fp4"] == pytest.approx(entry["area"] / 8)
    assert "| fp4 | 8 |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.usefixtures("blocks")
def test_compare_names_the_ratio(tmp_path):
    assert (
        compare.main(["--preset", "tiny", "--activation-bits", "8", "--quick", "--out", str(tmp_path)]) == 0
    )
    (entry,) = json.loads((tmp_path / "comparison.json").read_text())
    assert entry["datatype"] == "fp4"
    ours, narrow, baseline = entry["designs"]
    assert narrow["label"] == "tile, 8 activation bits"
    assert baseline["area_to_the_first"] == pytest.approx(baseline["area"] / (ours["area"] / 8))
    areas = json.loads((tmp_path / "areas-generic.json").read_text())
    assert [one["name"] for one in areas["designs"]] == ["tile", "fp16_mac"]
    assert areas["designs"][0]["macs_per_cycle"]["fp4"] == 8
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".md", ".png", ".png"]


@pytest.mark.usefixtures("blocks")
def test_variants_out_of_range_are_named(refusal):
    _, error = refusal(compare.main, ["--preset", "tiny", "--lanes", "32"])
    assert "lanes = 32: Input should be 4, 8 or 16" in error


@pytest.mark.usefixtures("blocks")
def test_a_model_that_is_not_there_is_told_first(refusal):
    _, error = refusal(compare.main, ["--preset", "tiny", "--energy", "random"])
    assert "model 'random' must be an existing file" in error


@pytest.mark.usefixtures("opensta")
def test_timing_and_full_adders(library):
    found = measure(Sum(16, 14), "adder", library, 2.0, recipes=NF)
    assert found.counts[liberty.full_adder(targets.parse(library).cells.values()).cell] > 150
    assert found.met
    assert 0.3 < found.timing.min_period < 2.0
    assert found.timing.source == "OpenSTA"
    assert found.tools["OpenSTA"] == optional.OPENSTA.version


@pytest.mark.usefixtures("opensta")
def test_memories_left_whole_are_cut_from_timing(library):
    found = measure(Store(), "store", library, 1.0, recipes=NF)
    assert found.memory_bits == 64 * 32
    assert found.met
    assert "CLK" not in found.timing.end


def line(own: float, slew: float, load: float, rising: bool) -> tuple[float, float]:
    """Delay and transition in ns of a cell of the made-up library, as its file says; load by strength."""
    times = own + 0.2 * slew + 0.004 * load, 0.8 * own + 0.1 * slew + 1.5 * 0.004 * load
    return times if not rising else tuple(1.1 * time for time in times)


def setup(slew: float) -> float:
    """Set-up time in ns at an ideal clock; the table begins at transitions of 0.01 ns."""
    early, late = (at + (slew - 0.01) / 0.39 * (end - at) for at, end in ((0.03, 0.02), (0.09, 0.07)))
    return early - 0.01 / 0.39 * (late - early)


@pytest.mark.usefixtures("opensta")
def test_the_shortest_period_is_the_hand_count(tiny):
    """From the clock through a register and an inverter back to the register's set-up time."""
    found = measure(Toggle(), "toggle", tiny, 1.0, recipes=NF)
    (strength,) = (int(name[-1]) for name in found.counts if name != "dff_1")
    assert found.counts == {"dff_1": 1, f"inv_{strength}": 1}
    periods = []
    for rising in (False, True):
        out, slew = line(0.07, 0, 5 + 1.5 * strength, rising)  # the port and the inverter
        back, slew = line(0.008, slew, 1.3 / strength, not rising)
        periods.append(out + back + setup(slew))
    assert found.timing.min_period == pytest.approx(max(periods), abs=1e-3)


@pytest.fixture(scope="module")
def untimed(tiny):
    """A sum on a library with timing, where OpenSTA is missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        return measure(Sum(8, 8), "adder", tiny)


def test_without_opensta_there_are_areas(untimed, tiny):
    cells = targets.parse(tiny).cells
    assert untimed.area == pytest.approx(sum(cells[name].area * n for name, n in untimed.counts.items()))
    assert untimed.counts["fa_1"] > 30
    assert untimed.timing is None
    assert untimed.netlist is None
    assert untimed.untimed == targets.NO_OPENSTA == "OpenSTA is not installed (apt-get install opensta)"
    assert set(untimed.tools) == {"Yosys"}
    assert {name.rpartition("_")[2] for name in untimed.counts} == {"1"}  # nothing was sized


def test_areas_without_timing_are_labelled(untimed, capsys):
    result = render.Result(untimed)
    assert render.to_dict(result)["untimed"] == targets.NO_OPENSTA
    label = render.areas_only(targets.NO_OPENSTA)
    assert f"| timing | {label} |" in render.markdown([result], {})
    render.print_result(Console(width=200), result)
    assert label in capsys.readouterr().out
    assert "no timing" in picture._subtitle(untimed, 1.0)


def test_a_period_without_opensta_is_refused_before_any_work(tiny, hide, monkeypatch):
    hide(optional.OPENSTA)
    monkeypatch.setattr(yosys, "run", lambda *arguments: pytest.fail("Yosys was started"))
    with pytest.raises(
        optional.MissingPart, match=r"a clock period needs OpenSTA, .*: apt-get install opensta"
    ):
        measure("module adder; endmodule", "adder", tiny, 1.0)


@pytest.mark.usefixtures("blocks")
def test_comparisons_without_timing_are_labelled(tiny, hide, tmp_path, capsys, monkeypatch):
    hide(optional.OPENSTA)
    monkeypatch.setattr(compare.pictures, "draw", lambda *arguments: [])
    monkeypatch.setattr(compare.dot_errors, "measure", lambda designs: {})
    arguments = ["--preset", "tiny", "--target", tiny, "--quick", "--out", str(tmp_path / "out")]
    assert compare.main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in ("comparison", "areas-tiny"):
        content = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert (content[0] if isinstance(content, list) else content)["untimed"] == targets.NO_OPENSTA
    for text in (shown, (tmp_path / "out" / "comparison.md").read_text()):
        assert render.areas_only(targets.NO_OPENSTA) in text
        assert "on tiny, no timing" in text
        assert "made with Yosys" in text
    assert areas.load(tmp_path / "out" / "areas-tiny.json").untimed


def test_verilog_text_and_component_cost_the_same():
    verilog = convert(Sum(3, 4), "adder")
    assert measure(verilog, "adder", recipes=NF).area == measure(Sum(3, 4), "adder", recipes=NF).area


@pytest.mark.parametrize("others", [[], ["--target", "ecp5", "--target", "ice40"]])
def test_place_and_route_is_for_some_fpgas(others, refusal, monkeypatch):
    monkeypatch.setattr(yosys, "run", lambda *arguments: pytest.fail("Yosys was started"))
    _, error = refusal(report.main, ["--preset", "tiny", "--block", "fp16_mac", "--place", *others])
    problem = f"place and route is for ecp5, not for {'ice40' if others else 'generic'}"
    assert problem in error
    with pytest.raises(place.PlaceError, match=problem):
        measure("module top; endmodule", "top", "ice40" if others else "generic", placed=True)


@pytest.mark.skipif(not optional.NEXTPNR.found(), reason=optional.NEXTPNR.missing("placing"))
@pytest.mark.parametrize(("pins", "used"), [(73, 73), (72, 4)])
def test_placed_designs_have_a_period(tmp_path, monkeypatch, pins, used):
    """With more ports than there are pins, between registers that are shifted."""
    monkeypatch.setitem(place.PINS, "ecp5", pins)
    found = measure(Store(), "store", "ecp5", 5.0, placed=True, keep=tmp_path)
    utilization = json.loads((tmp_path / "ecp5" / "placed.json").read_text())["utilization"]
    assert utilization["TRELLIS_IO"]["used"] == used
    assert utilization["DP16KD"]["used"] == 1
    (path, *_) = json.loads((tmp_path / "ecp5" / "placed.json").read_text())["critical_paths"]
    assert found.timing.min_period == pytest.approx(sum(step["delay"] for step in path["path"]), abs=2e-3)
    assert found.timing.source == "nextpnr"
    assert found.tools["nextpnr"] == optional.NEXTPNR.version
    assert 1.0 < found.timing.min_period < 10.0
    assert found.timing.slack == pytest.approx(5.0 - found.timing.min_period, abs=1e-3)
