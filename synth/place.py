"""Place and route on an FPGA with nextpnr: the clock that a design really reaches."""

import json
import re
import subprocess
from pathlib import Path

from golden import optional
from synth import yosys
from synth.targets import Fpga, Target
from synth.timing import Timing

__all__ = ["FAMILIES", "PlaceError", "check", "place"]

FAMILIES = {
    "ecp5": (optional.NEXTPNR, ("--85k", "--package", "CABGA756", "--lpf-allow-unconstrained"), "synth_ecp5"),
}
"""By family: nextpnr, the device's options, Yosys' command."""
PINS = {"ecp5": 365}
"""Of the package."""
_HARNESS = "placed"
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+) ?;", re.MULTILINE)


class PlaceError(RuntimeError):
    """nextpnr failed, for instance because the device is too small; the text is one line."""


def check(target: Target) -> None:
    """Go on only where designs can be placed on a target.

    Raises:
        PlaceError: it is no family of FAMILIES.
    """
    if not isinstance(target, Fpga) or target.name not in FAMILIES:
        raise PlaceError(f"place and route is for {', '.join(FAMILIES)}, not for {target.name}")


def place(verilog: str, top: str, family: str, period: float, folder: Path) -> Timing:
    """Place and route a design on the largest device of a family.

    Args:
        verilog: the design. Each of its ports takes a pin; where they are more than the package has, they
            end at registers that are shifted.
        top: name of its top module.
        family: one of FAMILIES.
        period: clock period in ns to work towards.
        folder: working directory.

    Raises:
        golden.optional.MissingPart: nextpnr is not installed.
        PlaceError: nextpnr failed.
        synth.yosys.YosysError: synthesis failed.
    """
    part, device, command = FAMILIES[family]
    program = part.need("place and route")
    ports = _ports(verilog, top)
    if sum(width for _, width, _ in ports) > PINS[family]:
        verilog, top = verilog + _harness(top, ports), _HARNESS
    script = f"read_verilog -sv design.v\nchformal -remove\n{command} -top {top} -json place.json\n"
    yosys.run(script, folder, {"design.v": verilog}, "place")
    options = ("--freq", f"{1000 / period:g}", "--json", "place.json", "--report", "placed.json")
    run = subprocess.run(
        [program, *device, "--timing-allow-fail", "--seed", "1", *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "place.log").write_text(run.stdout + run.stderr)
    if run.returncode:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        raise PlaceError(f"nextpnr: {errors[0] if errors else f'exit status {run.returncode}'}")
    report = json.loads((folder / "placed.json").read_text())
    clocks = report["fmax"].values()
    if not clocks:
        raise PlaceError(f"{top} has no clock")
    shortest = 1000 / min(clock["achieved"] for clock in clocks)
    paths = [path["path"] for path in report["critical_paths"] if "async" not in path["from"] + path["to"]]
    start, end = (paths[0][0]["from"]["cell"], paths[0][-1]["to"]["cell"]) if paths else ("", "")
    return Timing("nextpnr", round(shortest, 3), round(period - shortest, 4), start, end)


def _ports(verilog: str, top: str) -> list[tuple[str, int, str]]:
    """Direction, width and name of the ports of a module as Yosys writes it."""
    body = re.search(rf"^module {top}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if body is None:
        raise PlaceError(f"{top} is no module of the design")
    ports = [(way, int(last or 0) + 1, name) for way, last, name in _PORT.findall(body[0])]
    named = body[0].partition("(")[2].partition(")")[0].split(",")
    if {name.strip() for name in named} != {name for *_, name in ports}:
        raise PlaceError(f"{top} has ports that are neither input nor output, or not as Yosys writes them")
    return ports


def _harness(top: str, ports: list[tuple[str, int, str]]) -> str:
    """A module with few pins around a design: registers in front of every input and behind every output.

    Inputs are a shift register; outputs are taken by another one, which is shifted out. So the clock that is
    reached is that between registers, and what a neighbour on the same device would meet.

    Args:
        top: name of the design's top module.
        ports: as of ``_ports``; the clock is ``clk``.
    """
    ports = [port for port in ports if port[2] != "clk"]
    sizes = {way: sum(width for each, width, _ in ports if each == way) for way in ("input", "output")}
    places = dict.fromkeys(sizes, 0)
    pins = [".clk(clk)"]
    for way, width, name in ports:
        first = places[way]
        pins.append(f".{name}({'given' if way == 'input' else 'found'}[{first + width - 1}:{first}])")
        places[way] += width
    inputs, outputs = sizes.values()
    return f"""
module {_HARNESS}(input clk, input shifted, input take, output last);
  reg [{inputs - 1}:0] given;
  reg [{outputs - 1}:0] kept;
  reg taken;
  wire [{outputs - 1}:0] found;
  assign last = kept[{outputs - 1}];
  always @(posedge clk) begin
    given <= {{given, shifted}};
    taken <= take;
    kept <= taken ? found : {{kept, 1'b0}};
  end
  {top} design({", ".join(pins)});
endmodule
"""
