"""Place and route on an FPGA with nextpnr: the clock that a design really reaches."""

import json
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
        verilog: the design; each of its ports takes a pin.
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
