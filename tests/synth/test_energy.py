"""Energy: Liberty's tables, prices of nets and cells, activity of gates, recordings that must fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.model.capture import Linear
from hw.baseline.fp16_mac import LATENCY, Fp16Mac
from hw.config import preset
from sim import workloads
from sim.recording import record
from synth import asic, liberty, targets
from synth.compare import results
from synth.compare.__main__ import Design, compare
from synth.measure import measure
from synth.power import cells, energy, gates
from synth.power import library as power_library
from synth.timing import Netlist

LIBRARY = """library (small) {
  time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 2.0;
  power_lut_template (loads) { variable_1 : total_output_net_capacitance; variable_2 : input_transition_time;
    index_1 ("0, 10"); index_2 ("0.0, 0.1"); }
  cell (INV) { area : 1.0; cell_leakage_power : 3.0;
    pin (A) { direction : input; capacitance : 4.0; }
    pin (Z) { direction : output; function : "!A";
      timing () { related_pin : "A";
        rise_transition (t) { index_1 ("0, 1"); index_2 ("0, 10"); values ("0.0, 0.1", "0.0, 0.1"); }
        fall_transition (t) { index_1 ("0, 1"); index_2 ("0, 10"); values ("0.0, 0.3", "0.0, 0.3"); }
      }
      internal_power () { related_pin : "A";
        rise_power (loads) { values ("1.0, 2.0", "3.0, 4.0"); }
        fall_power (scalar) { values ("0.5"); }
      }
    }
  }
  cell (DFF) { area : 4.0;
    leakage_power () { when : "D"; value : 2.0; } leakage_power () { when : "!D"; value : 4.0; }
    ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (D) { direction : input; capacitance : 1.0; }
    pin (CK) { direction : input; clock : true; capacitance : 1.0;
      internal_power () { when : "D & Q"; rise_power (scalar) { values ("2.0"); } fall_power (scalar) { values ("4.0"); } }
      internal_power () { when : "!D & Q"; rise_power (scalar) { values ("0.0"); } fall_power (scalar) { values ("8.0"); } }
    }
    pin (Q) { direction : output; function : "IQ"; }
  }
}
"""  # noqa: E501
needs_gates = pytest.mark.usefixtures("opensta", "icarus")


@pytest.fixture
def two_cells() -> power_library.PowerLibrary:
    return power_library.read([LIBRARY], ["INV", "DFF"])


@pytest.mark.quick
def test_tables_are_interpolated_and_held_at_their_borders(two_cells) -> None:
    ((rise, half), (fall, other)) = two_cells.cells["INV"].energy["Z"]
    assert half == other == 0.5
    assert rise(0.0, 0.0) == 1.0
    assert rise(0.1, 0.0) == 2.0  # the template has loads outside
    assert rise(0.0, 10.0) == 3.0
    assert rise(0.05, 5.0) == pytest.approx(2.5)
    assert rise(9.0, 99.0) == 4.0
    assert fall(0.3, 7.0) == 0.5


@pytest.mark.quick
def test_states_are_averaged(two_cells) -> None:
    """Two states of 2 + 4 and 0 + 8 a cycle: a clock's two changes cost 7, not 14."""
    cell = two_cells.cells["DFF"]
    assert sum(weight * table(0, 0) for table, weight in cell.energy["CK"]) * 2 == 7.0
    assert cell.leakage == 3.0
    assert (two_cells.voltage, two_cells.capacitance, two_cells.leakage, two_cells.time) == (
        2.0,
        1e-15,
        1e-9,
        1.0,
    )


@pytest.mark.quick
def test_libraries_without_units_are_refused() -> None:
    with pytest.raises(ValueError, match="units"):
        power_library.read(["library (x) { }"], [])


@pytest.mark.quick
def test_power_of_two_inverters_by_hand(tmp_path) -> None:
    known = liberty.parse(LIBRARY)
    target = targets.Asic("small", (("small.lib", LIBRARY),), known, "INV", load=6.0, period=2.0)
    cell = {"type": "INV", "port_directions": {"A": "input", "Z": "output"}}
    module = {
        "ports": {"a": {"direction": "input", "bits": [1]}, "z": {"direction": "output", "bits": [3]}},
        "cells": {
            "first": {**cell, "connections": {"A": [1], "Z": [2]}},
            "second": {**cell, "connections": {"A": [2], "Z": [3]}},
        },
    }
    (tmp_path / "pair.strong.json").write_text(json.dumps({"modules": {"top": module}}))
    netlist = Netlist(target, "top", 2.0, "", tmp_path, "pair")
    found = cells.cell_power(netlist, gates.Activity({1: 0.5, 2: 0.5, 3: 0.5}, {}))
    per_second = 0.5 * 0.5e9  # changes
    assert found[""].switching == pytest.approx(per_second * 0.5 * 4e-15 * 4)
    assert found["first"].switching == pytest.approx(per_second * 0.5 * 4e-15 * 4)
    assert found["second"].switching == pytest.approx(per_second * 0.5 * 6e-15 * 4)
    # The second's input changes in 0.4 * (0.1 + 0.3) / 2 ns, at 6 fF: 1 + 0.6 * 2 + 0.8 and 0.5.
    assert found["second"].internal == pytest.approx(per_second * 1e-15 * (3.0 + 0.5) / 2)
    assert found["second"].leakage == pytest.approx(3e-9)


class Counter(wiring.Component):
    """Counts while ``enable`` is high; wide enough for a clock gate."""

    enable: In(1)
    count: Out(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(8, reset_less=True)
        m.d.comb += self.count.eq(count)
        with m.If(self.enable):
            m.d.sync += count.eq(count + 1)
        return m


@pytest.fixture(scope="module")
def counter(library, opensta, tmp_path_factory) -> Netlist:
    folder = tmp_path_factory.mktemp("counter")
    recipe = (asic.Recipe(mapper="nf"),)
    report = measure(Counter(), "counter", library, 1.0, recipes=recipe, keep=folder)
    assert report.netlist is not None
    return report.netlist


@needs_gates
def test_activity_of_a_counter(counter) -> None:
    trace = record(Counter(), 96, {"enable": [1] * 96}).within(16, 80, 64)
    assert trace.outputs["count"][:18] == list(range(18))
    cells = gates.read_module(counter)["cells"].values()
    assert sum(counter.target.cells[cell["type"]].clock_gate for cell in cells) == 1
    activity = gates.simulate(counter, trace)
    ports = gates.read_module(counter)["ports"]
    nets = [ports[f"count_{bit}_"]["bits"][0] for bit in range(4)]
    assert [activity.toggles[net] for net in nets] == [1, 1 / 2, 1 / 4, 1 / 8]
    assert [activity.high[net] for net in nets] == [pytest.approx(0.5, abs=0.01)] * 4
    assert activity.toggles[ports["clk"]["bits"][0]] == pytest.approx(2, abs=0.02)


@needs_gates
def test_netlists_that_answer_otherwise_are_refused(counter) -> None:
    trace = record(Counter(), 40, {"enable": [1] * 40}).within(8, 40, 32)
    wrong = replace(trace, outputs={"count": [*trace.outputs["count"][:20], 9, *trace.outputs["count"][21:]]})
    with pytest.raises(gates.GateSimulationError, match="cycle 20: count 14 instead of 9"):
        gates.simulate(counter, wrong)


@needs_gates
def test_only_settled_outputs_are_compared(counter) -> None:
    trace = record(Counter(), 40, {"enable": [1] * 40}).within(8, 40, 32)
    wrong = replace(trace, outputs={"count": [*trace.outputs["count"][:4], 9, *trace.outputs["count"][5:]]})
    gates.simulate(counter, replace(wrong, settled=5))
    with pytest.raises(gates.GateSimulationError, match="cycle 4: count 4 instead of 9"):
        gates.simulate(counter, replace(wrong, settled=4))


@needs_gates
def test_idle_units_take_less(counter) -> None:
    busy = record(Counter(), 80, {"enable": [1] * 80}).within(8, 72, 64)
    idle = record(Counter(), 80).within(8, 72, 64)
    busy_energy, idle_energy = (energy.measure(counter, one, "int4") for one in (busy, idle))
    assert 0 < idle_energy.per_mac < 0.7 * busy_energy.per_mac
    assert sum(busy_energy.parts.values()) == pytest.approx(busy_energy.per_mac)
    assert sum(busy_energy.kinds.values()) == pytest.approx(busy_energy.per_mac)


@pytest.mark.quick
def test_recordings_have_every_port() -> None:
    one = 0x3C00
    trace = record(Fp16Mac(), 8, {"a": [one] * 8, "b": [one] * 8, "first": [1, 1]})
    assert set(trace.inputs) == {"a", "b", "first"}
    assert trace.outputs["acc"][LATENCY : LATENCY + 4] == [0x3F800000] * 2 + [0x40000000] * 2


@needs_gates
def test_comparisons_have_energies(tiny) -> None:
    """A unit at work and one of zeros; a block without a workload says so."""
    rng = np.random.default_rng(6)
    weights, inputs = (rng.standard_normal((4, 1024)).astype(np.float32) for _ in range(2))
    layer, zeros = Linear("layer", weights, inputs), Linear("zeros", 0 * weights, 0 * inputs)
    config = preset("tiny")
    layers = {"busy": layer, "idle": zeros}
    found = compare(
        [Design("int8_mac", config, "busy")],
        [Design("int8_mac", config, "idle"), Design("term_encoder", config, "none")],
        tiny,
        2.0,
        recipes=(asic.Recipe(mapper="nf"),),
        workload=lambda design, datatype: workloads.trace(
            design.block, design.config, layers.get(design.label, layer), datatype
        ),
    )
    busy, idle, none = found.designs
    assert busy.energy is not None
    assert idle.energy is not None
    assert idle.energy.per_mac < busy.energy.per_mac / 2
    assert none.energy is None
    assert none.note == "no workload"
    assert set(found.tools) == {"Yosys", "OpenSTA", "Icarus Verilog"}
    assert found.to_dict()["tools"] == found.areas()["tools"] == found.tools
    assert f"Icarus Verilog {found.tools['Icarus Verilog']}" in results.markdown([found], [[]])
    assert found.energy_ratio(idle) == pytest.approx(idle.energy.per_mac / busy.energy.per_mac)
