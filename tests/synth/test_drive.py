"""Drive strength, clock gates and mixed mappers on small circuits."""

from collections import Counter

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from synth import asic, drive, liberty, targets
from synth.measure import measure


def loaded(count: int) -> dict:
    """A flat netlist of one register that drives ``count`` inverters, each inside its own instance."""
    inverter = {"hide_name": 1, "type": "INV"}
    cells = {
        f"$flatten\\row{number}.\\lane.$abc$7": {
            **inverter,
            "connections": {"A": [4], "ZN": [10 + number]},
        }
        for number in range(count)
    }
    register = {"hide_name": 0, "type": "DFF1", "connections": {"D": [3], "CK": [2], "Q": [4]}}
    ports = {"clk": {"direction": "input", "bits": [2]}, "d": {"direction": "input", "bits": [3]}}
    outputs = {f"q{n}": {"direction": "output", "bits": [10 + n]} for n in range(count)}
    return {"ports": ports | outputs, "cells": {"state": register} | cells}


def drive_library() -> targets.Asic:
    def cell(
        name: str, area: float, inputs: str, output: str, maximum: float, function: str = ""
    ) -> liberty.Cell:
        pins = {pin: liberty.Pin("input", capacitance=1.0) for pin in inputs.split()}
        pins[output] = liberty.Pin("output", function, maximum_load=maximum)
        return liberty.Cell(name, area, name.startswith("DFF"), False, False, pins)

    cells = (
        cell("INV", 1, "A", "ZN", 9, "!A"),
        cell("BUF1", 1, "A", "Z", 12, "A"),
        cell("BUF4", 2, "A", "Z", 30, "A"),
        cell("DFF1", 4, "D CK", "Q", 9),
        cell("DFF2", 5, "D CK", "Q", 18),
    )
    return targets.Asic("small", (), {one.name: one for one in cells}, "BUF4", 0.5, 1.0)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("count", "added"),
    [
        (6, {}),  # two thirds of what DFF1 may drive
        (12, {"DFF1": -1, "DFF2": 1}),
        (20, {"BUF4": 1}),
        (50, {"BUF4": 3}),
    ],
)
def test_heavily_loaded_registers_get_help(count, added):
    module, target = loaded(count), drive_library()
    assert drive.strengthen(module, target, "clk") == added
    sources = {4: "state"}
    loads = Counter()
    for name, cell in module["cells"].items():
        if cell["type"] == "BUF4":
            assert cell["connections"]["A"] == [4]
            sources[cell["connections"]["Z"][0]] = name
    for cell in module["cells"].values():
        loads[cell["connections"].get("A", cell["connections"].get("D"))[0]] += 1
    inverters = {name: cell for name, cell in module["cells"].items() if cell["type"] == "INV"}
    assert len(inverters) == count
    assert all(cell["connections"]["A"][0] in sources for cell in inverters.values())
    for bit, source in sources.items():
        output = target.cells[module["cells"][source]["type"]]
        assert loads[bit] <= 2 / 3 * max(pin.maximum_load for pin in output.pins.values())
    assert {name.rpartition(".")[0] for name in inverters} == {f"row{number}.lane" for number in range(count)}


@pytest.mark.quick
def test_a_net_that_leaves_twice_counts_once():
    module = loaded(1)
    module["ports"]["again"] = {"direction": "output", "bits": [10]}
    assert drive.strengthen(module, drive_library(), "clk") == {}
    assert "again" not in module["ports"]


class Add(wiring.Component):
    """Sum of four bytes; combinational."""

    operands: In(data.ArrayLayout(8, 4))
    total: Out(10)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(sum(self.operands))
        return m


class Enabled(wiring.Component):
    """Registers that all keep their value while ``enable`` is low, behind a component."""

    enable: In(1)
    operands: In(data.ArrayLayout(8, 4))
    total: Out(10)

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = Add()
        m.d.comb += adder.operands.eq(self.operands)
        held = Signal(10, reset_less=True)
        m.d.comb += self.total.eq(held)
        with m.If(self.enable):
            m.d.sync += held.eq(adder.total)
        return m


def test_registers_with_an_enable_share_a_clock_gate(library):
    found = measure(Enabled(), "enabled", library, recipes=(asic.Recipe(mapper="nf"),))
    cells = targets.parse(library).cells
    assert sum(number for cell, number in found.counts.items() if cells[cell].clock_gate) == 1
    assert not [cell for cell in found.counts if cell.lower().startswith("mux2")]


@pytest.mark.usefixtures("opensta")
def test_a_mixed_design_is_as_small_as_its_smallest_parts_allow_and_faster_on_demand(library):
    mixed, alone = asic.Recipe(), [asic.Recipe(mapper=mapper) for mapper in asic.MAPPERS]
    slow = measure(Enabled(), "enabled", library, 5.0, recipes=(mixed, *alone))
    fast = measure(Enabled(), "enabled", library, 0.5, recipes=(mixed,))
    assert slow.met
    areas = {name: tried["area"] for name, tried in slow.tried.items()}
    assert len(areas) == 1 + len(alone)
    assert slow.area == areas[str(mixed)] == min(areas.values())
    assert fast.area > slow.area
    assert fast.timing.min_period < slow.tried[str(mixed)]["min_period"]
