"""Simulate a mapped netlist at gate level: it must answer as recorded, and each net's activity is counted.

Icarus simulates the library's own functions without delays, so there are no glitches in the counts. Memories
that were left whole are simulated beside the netlist.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from golden import optional
from synth import yosys
from synth.liberty import Cell
from synth.power.memories import Memory, memories
from synth.targets import Asic
from synth.timing import Netlist

__all__ = ["Activity", "GateSimulationError", "Recording", "cell_models", "read_module", "simulate"]

_RESET = 4  # cycles
_PERIOD = 4  # time units of a clock cycle


class GateSimulationError(RuntimeError):
    """The netlist cannot be simulated, or it answers otherwise than recorded; the text is one line."""


class Recording(Protocol):
    """Every port in every cycle, as ``sim.recording.Trace`` has it."""

    @property
    def inputs(self) -> Mapping[str, Any]: ...
    @property
    def outputs(self) -> Mapping[str, Any]: ...
    @property
    def window(self) -> tuple[int, int]: ...
    @property
    def cycles(self) -> int: ...
    @property
    def settled(self) -> int: ...


@dataclass(frozen=True)
class Activity:
    """What the nets of a flat netlist do within a window.

    Attributes:
        toggles: changes in a clock cycle, by net number.
        high: share of the time at 1, by net number.
    """

    toggles: Mapping[int, float]
    high: Mapping[int, float]


def read_module(netlist: Netlist) -> dict[str, Any]:
    """The flat top module in Yosys' JSON form."""
    text = (netlist.folder / f"{netlist.name}.strong.json").read_text()
    return json.loads(text)["modules"][netlist.top]


def cell_models(target: Asic, used: set[str], folder: Path) -> str:
    """Verilog of cells by the library's own functions; registers start at 0."""
    gates = sorted(name for name in used if target.cells[name].clock_gate)
    missing = "-ignore_miss_func -ignore_miss_data_latch -ignore_miss_dir"
    reads = "\n".join(f"read_liberty {missing} {file}" for file, _ in target.texts)
    kept = " ".join(sorted(used.difference(gates)))
    yosys.run(f"{reads}\nselect {kept}\nwrite_verilog -noattr -selected cells.v\n", folder, None, "cells")
    cells = re.sub(r"^(\s*reg \w+);", r"\1 = 0;", (folder / "cells.v").read_text(), flags=re.M)
    return cells + "".join(_clock_gate(target.cells[name]) for name in gates)


def _clock_gate(cell: Cell) -> str:
    """Yosys has no model of a clock gate: a latch that is open while the clock is low."""
    pins = {pin.gate_role: name for name, pin in cell.pins.items() if pin.gate_role}
    ports = [f"{'output' if role == 'out' else 'input'} {name}" for role, name in pins.items()]
    enable = " | ".join(pins[role] for role in ("enable", "test") if role in pins)
    return f"""module {cell.name} ({", ".join(ports)});
  reg enabled = 0;
  always @* if (!{pins["clock"]}) enabled = {enable};
  assign {pins["out"]} = {pins["clock"]} & enabled;
endmodule
"""


def simulate(netlist: Netlist, recording: Recording) -> Activity:
    """Play a recording to a netlist.

    Args:
        netlist: mapped, of a standard-cell target; its folder still holds all its files.
        recording: of the same design, from reset on.

    Raises:
        golden.optional.MissingPart: Icarus is missing.
        GateSimulationError: an output differs from the recording.
    """
    optional.require(("gate-level simulation", optional.ICARUS, True))
    folder, module = netlist.folder, read_module(netlist)
    design = _Design(module, recording)
    used = {cell["type"] for cell in module["cells"].values()}
    (folder / "gates.v").write_text(design.verilog() + cell_models(netlist.target, used, folder))
    try:
        beside = memories(netlist, module["ports"])
    except ValueError as error:
        raise GateSimulationError(f"{netlist.top}: {error}") from None
    (folder / "bench.v").write_text(design.bench(beside))
    (folder / "stimulus.hex").write_text(design.rows(recording.inputs, design.inputs))
    (folder / "expected.hex").write_text(design.rows(recording.outputs, design.outputs))
    _run(["iverilog", "-g2012", "-o", "gates.vvp", "bench.v", "gates.v"], folder)
    said = _run(["vvp", "gates.vvp"], folder)
    if match := re.search(r"^(cycle .*)$", said, re.M):
        raise GateSimulationError(f"{netlist.top}: the netlist differs from its recording in {match[1]}")
    compared = re.search(r"^(\d+) compared$", said, re.M)
    if compared is None or not int(compared[1]):
        raise GateSimulationError(f"{netlist.top}: no output of the netlist was ever known")
    first, stop = recording.window
    return _count(folder / "gates.vcd", stop - first)


class _Design:
    """A flat netlist as a module of two vectors, and the bench around it.

    Attributes:
        inputs, outputs: ports in the order of the vectors, with their widths.
    """

    def __init__(self, module: dict[str, Any], recording: Recording) -> None:
        self.module, self.recording = module, recording
        self.inputs = self._widths(recording.inputs)
        self.outputs = self._widths(recording.outputs)
        known = {bit for port in (*self.inputs, *self.outputs) for bit in self._bits(port)}
        self.extra = [name for name in module["ports"] if name not in known and name not in ("clk", "rst")]

    def _bits(self, port: str) -> list[str]:
        """Names of the scalar ports that a port was split into."""
        ports = self.module["ports"]
        if port in ports:
            return [port]
        found = []
        while f"{port}_{len(found)}_" in ports:
            found.append(f"{port}_{len(found)}_")
        return found

    def _widths(self, ports: Mapping[str, Any]) -> dict[str, int]:
        return {port: len(self._bits(port)) for port in ports}

    def rows(self, values: Mapping[str, Any], widths: Mapping[str, int]) -> str:
        """A recording as lines of hexadecimal digits, the first port in the lowest bits."""
        lines = []
        for cycle in range(self.recording.cycles):
            word = place = 0
            for port, width in widths.items():
                word |= (values[port][cycle] & (1 << width) - 1) << place
                place += width
            lines.append(f"{word:x}\n")
        return "".join(lines)

    def verilog(self) -> str:
        """The netlist; nets are called by their number."""
        ports = self.module["ports"]

        def net(bit: int | str) -> str:
            return f"n{bit}" if isinstance(bit, int) else f"1'b{bit}"

        lines = []
        numbers = {bit for port in ports.values() for bit in port["bits"] if isinstance(bit, int)}
        for name, cell in self.module["cells"].items():
            pins = {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
            numbers.update(bit for bit in pins.values() if isinstance(bit, int))
            wired = ", ".join(f".{pin}({net(bit)})" for pin, bit in pins.items())
            lines.append(f"  {cell['type']} \\{name} ({wired});")
        assigns = [f"  assign n{ports[c]['bits'][0]} = {c};" for c in ("clk", "rst") if c in ports]
        for vector, widths, inward in (("in", self.inputs, True), ("out", self.outputs, False)):
            bits = [bit for port in widths for bit in self._bits(port)]
            for place, bit in enumerate(bits):
                own, other = net(ports[bit]["bits"][0]), f"{vector}[{place}]"
                assigns.append(f"  assign {own} = {other};" if inward else f"  assign {other} = {own};")
        for name in self.extra:
            own, other = net(ports[name]["bits"][0]), f"\\{name} "
            inward = ports[name]["direction"] == "input"
            assigns.append(f"  assign {own} = {other};" if inward else f"  assign {other} = {own};")
        wires = "".join(f"  wire n{number};\n" for number in sorted(numbers))
        extra = "".join(f", {ports[name]['direction']} \\{name} " for name in self.extra)
        head = (
            f"module gates (input clk, input rst, input [{max(sum(self.inputs.values()), 1) - 1}:0] in,"
            f" output [{max(sum(self.outputs.values()), 1) - 1}:0] out{extra});\n"
        )
        return head + wires + "\n".join([*assigns, *lines]) + "\nendmodule\n"

    def bench(self, beside: list[Memory]) -> str:
        """Plays the recording, compares settled outputs where known, writes the window's waveform."""
        cycles, (first, stop) = self.recording.cycles, self.recording.window
        places = dict(zip(self.outputs, accumulate(self.outputs.values(), initial=0), strict=False))
        valid = {  # a payload means something while it is offered
            port: f"wanted[{places[stream]}]"
            for port in self.outputs
            if (stream := f"{port.removesuffix('payload')}valid") in places and port.endswith("_payload")
        }
        checks, place = [], 0
        for port, width in self.outputs.items():
            if width:
                part = f"[{place + width - 1}:{place}]"
                meant = f"i >= {self.recording.settled}" + (f" && {valid[port]}" if port in valid else "")
                checks.append(
                    f"        if ({meant} && ^out{part} !== 1'bx) begin compared = compared + 1;"
                    f" if (out{part} !== wanted{part}) begin"
                    f' $display("cycle %0d: {port} %0h instead of %0h", i, out{part}, wanted{part});'
                    " $finish; end end"
                )
            place += width
        wires = "".join(f"  wire \\{name} ;\n" for name in self.extra)
        extra = "".join(f", .\\{name} (\\{name} )" for name in self.extra)
        return f"""`timescale 1ns/1ns
module bench;
  reg clk = 0, rst = 1;
  reg [{max(sum(self.inputs.values()), 1) - 1}:0] in, stimulus [0:{cycles - 1}];
  reg [{max(sum(self.outputs.values()), 1) - 1}:0] wanted, expected [0:{cycles - 1}];
  wire [{max(sum(self.outputs.values()), 1) - 1}:0] out;
{wires}  gates gates (.clk(clk), .rst(rst), .in(in), .out(out){extra});
{"".join(memory.verilog() for memory in beside)}  integer i, compared = 0;
  initial begin
    $readmemh("stimulus.hex", stimulus);
    $readmemh("expected.hex", expected);
    $dumpfile("gates.vcd");
    in = 0;
    repeat ({_RESET}) begin #2 clk = 1; #2 clk = 0; end
    for (i = 0; i < {cycles}; i = i + 1) begin
      if (i == {first}) $dumpvars(1, gates);
      if (i == {stop}) $dumpoff;
      rst = 0; in = stimulus[i]; wanted = expected[i];
      #2
{chr(10).join(checks)}
      clk = 1;
      #2 clk = 0;
    end
    $display("%0d compared", compared);
    $finish;
  end
endmodule
"""


def _run(command: list[str], folder: Path) -> str:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        first = (run.stderr or run.stdout).strip().splitlines()[:1]
        raise GateSimulationError(f"{command[0]}: {first[0] if first else run.returncode}")
    return run.stdout


def _count(waveform: Path, cycles: int) -> Activity:
    """Changes and time at 1 of every net in a waveform of scalars."""
    numbers: dict[str, int] = {}
    toggles: dict[str, int] = {}
    high: dict[str, int] = {}
    state: dict[str, tuple[str, int]] = {}
    start, now = None, 0
    for line in _lines(waveform):
        kind = line[0]
        if kind == "#":
            now = int(line[1:])
            start = now if start is None else start
        elif kind in "01xz":
            name = line[1:]
            if (number := state.get(name)) is None:
                state[name] = (kind, now)
                continue
            before, since = number
            if before == "1":
                high[name] = high.get(name, 0) + now - since
            if before in "01" and kind in "01" and before != kind:
                toggles[name] = toggles.get(name, 0) + 1
            state[name] = (kind, now)
        elif line.startswith("$var"):
            words = line.split()
            if re.fullmatch(r"n\d+", words[4]):
                numbers[words[3]] = int(words[4][1:])
    length = cycles * _PERIOD
    end = (start or 0) + length
    for name, (value, since) in state.items():
        if value == "1":
            high[name] = high.get(name, 0) + max(end - since, 0)
    return Activity(
        {number: toggles.get(name, 0) / cycles for name, number in numbers.items()},
        {number: min(high.get(name, 0) / length, 1.0) for name, number in numbers.items()},
    )


def _lines(path: Path) -> Iterator[str]:
    with path.open() as file:
        for line in file:
            if line.startswith("$dumpoff"):
                return
            line = line.strip()
            if line:
                yield line
