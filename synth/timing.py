"""Static timing with OpenSTA."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from synth.targets import Asic

__all__ = ["Netlist", "Timing", "TimingError", "slow_cells", "static_timing"]


class TimingError(RuntimeError):
    """OpenSTA could not read the library or the netlist; the text is one line."""


@dataclass(frozen=True)
class Timing:
    """The slowest path; times in ns.

    Attributes:
        source: ``OpenSTA`` or ``nextpnr``.
        min_period: the shortest clock period the netlist works with.
        slack: the period asked for less ``min_period``.
        start: the register or port where the slowest path starts.
        end: where it ends.
    """

    source: str
    min_period: float
    slack: float
    start: str = ""
    end: str = ""

    @property
    def met(self) -> bool:
        return self.slack >= -1e-4


@dataclass(frozen=True)
class Netlist:
    """A mapped netlist and the conditions it is timed under.

    Inputs arrive and outputs are taken at the clock edge; memories left whole are cut, with no delay.

    Attributes:
        target: the library; its texts lie in ``folder``.
        top: name of the top module.
        period: clock period in ns.
        clock: name of the clock port, empty for a circuit without registers.
        folder: the working directory.
        name: stem of the netlist's file, NAME.v; it is flat.
        cut_memories: memories were cut out, so their clock pins are outputs.
    """

    target: Asic
    top: str
    period: float
    clock: str
    folder: Path
    name: str
    cut_memories: bool = False


def static_timing(netlist: Netlist) -> Timing | None:
    """Time a netlist of a library with timing; None where it has no path."""
    report = _open_sta(netlist, "report_checks -path_delay max -digits 4")
    slack = re.search(r"(-?[\d.]+)\s+slack \((?:MET|VIOLATED)\)", report)
    if slack is None:
        return None
    text = (netlist.folder / f"{netlist.name}.v").read_text()
    ends = [re.search(rf"^{word}: (\S+)", report, re.M) for word in ("Startpoint", "Endpoint")]
    start, end = (_register(match.group(1), text) if match else "" for match in ends)
    value = float(slack.group(1))
    return Timing("OpenSTA", round(netlist.period - value, 4), value, start, end)


def slow_cells(netlist: Netlist, pattern: str, paths: int = 200) -> dict[str, float]:
    """What is on the slowest path to each endpoint that misses the period, with its worst slack in ns.

    Args:
        netlist: what to time.
        pattern: regular expression; its first group, found in the names of cells, is the name wanted.
        paths: most paths to look at.
    """
    report = _open_sta(netlist, f"report_checks -path_delay max -group_count {paths} -slack_max 0 -digits 4")
    slacks: dict[str, float] = {}
    for path in report.split("Startpoint:")[1:]:
        slack = min(map(float, re.findall(r"(-?[\d.]+)\s+slack", path)), default=0.0)
        for name in re.findall(pattern, path):
            slacks[name] = min(slacks.get(name, 0.0), slack)
    return slacks


def _open_sta(netlist: Netlist, question: str) -> str:
    target = netlist.target
    commands = [
        *(f"read_liberty {name}" for name, _ in target.texts),
        f"read_verilog {netlist.name}.v",
        f"link_design {netlist.top}",
        "set_cmd_units -time ns -capacitance fF",
        f"create_clock -name clock -period {netlist.period:g} "
        + (f"[get_ports {netlist.clock}]" if netlist.clock else ""),
        "set_input_delay 0 -clock clock [all_inputs]",
        "set_output_delay 0 -clock clock [all_outputs]",
        f"set_driving_cell -lib_cell {target.driver} [all_inputs]",
        f"set_load {target.load:g} [all_outputs]",
        *(["set_false_path -to [get_ports *_CLK*]"] if netlist.cut_memories else []),
        question,
    ]
    (netlist.folder / f"{netlist.name}.tcl").write_text("\n".join(commands) + "\n")
    run = subprocess.run(
        ["sta", "-no_splash", "-exit", f"{netlist.name}.tcl"],
        cwd=netlist.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    (netlist.folder / f"{netlist.name}.timing").write_text(run.stdout + run.stderr)
    errors = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]
    if errors or run.returncode:
        raise TimingError(f"OpenSTA: {errors[0] if errors else f'exit status {run.returncode}'}")
    return run.stdout


def _register(point: str, netlist: str) -> str:
    """The readable name of a path's end: a flip-flop is called by the net it drives."""
    instance = re.search(rf"\s\\?{re.escape(point)}\s*\((.*?)\);", netlist, re.S)
    if instance and (output := re.search(r"\.QN?\(\s*\\?([^\s)]+)", instance.group(1))):
        point = output.group(1)
    return re.sub(r"(?<=.)_(\d+)_$", r"[\1]", point)
