"""What tools want beside the Verilog: waivers, a testbench, constraints, FuseSoC's and LibreLane's files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw import testbench

__all__ = ["companions"]

_WAIVERS = Path(__file__).with_name("waivers.vlt")

_CORE = """\
CAPI=2:
name: kvloom:rtl:{stem}:{version}
description: {summary}

filesets:
  rtl:
    files: [{stem}.v]
    file_type: verilogSource
  macros:
    files: [{stem}_ports.vh: {{is_include_file: true}}]
    file_type: verilogSource
  waivers:
    files: [{stem}.vlt]
    file_type: vlt
{filesets}
targets:
  default:
    filesets: [{default}]
    toplevel: {top}
  lint:
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [--lint-only, -Wall]
    filesets: [rtl, waivers]
    toplevel: {top}
{targets}"""

_CONSTRAINTS = """\
  constraints:
    files: [{stem}.sdc]
    file_type: SDC
"""

_TESTBENCH = """\
  testbench:
    files: [{stem}_tb.v]
    file_type: verilogSource
"""

_SIM = """\
  sim:
    flow: sim
    flow_options:
      tool: icarus
    filesets: [rtl, macros, testbench]
    toplevel: {top}_tb
"""

_SDC = """\
# Constraints of {top}: one clock, all ports follow it. Set `period`, in ns, before this file is read.
if {{![info exists period]}} {{ set period {period} }}
create_clock -name {clock} -period $period [get_ports {clock}]
set_input_delay [expr 0.2 * $period] -clock {clock} [get_ports {{{inputs}}}]
set_output_delay [expr 0.2 * $period] -clock {clock} [all_outputs]
"""

_PERIOD = 10.0
"""Clock period to begin with, in ns: what any technology reaches."""


def companions(description: Mapping[str, Any], stem: str) -> dict[str, str]:
    """Make them.

    Args:
        description: of the block, as of ``hw.manifest.describe``; without a clock nothing is constrained,
            and without an output stream there is no testbench.
        stem: name of the Verilog file without its suffix; all files have it.

    Returns:
        File name to text.
    """
    top, clocked = description["top"], description["clock"] is not None
    tested = clocked and bool(testbench.offers(description))
    files = {f"{stem}.vlt": _waivers(stem)}
    if tested:
        files[f"{stem}_tb.v"] = testbench.frame(description)
    if clocked:
        files[f"{stem}.sdc"] = _constraints(description)
        files[f"{stem}.librelane.json"] = _librelane(description, stem)
    files[f"{stem}.core"] = _CORE.format(
        top=top,
        stem=stem,
        version=description["tool"]["version"],
        summary=json.dumps(description["summary"]),
        filesets=_CONSTRAINTS.format(stem=stem) * clocked + _TESTBENCH.format(stem=stem) * tested,
        targets=_SIM.format(top=top) * tested,
        default="rtl, macros, constraints" if clocked else "rtl, macros",
    )
    return files


def _waivers(stem: str) -> str:
    """The waivers, for the block's own file only."""
    return re.sub(r"^(lint_off -rule \w+)", rf'\1 -file "*{stem}.v"', _WAIVERS.read_text(), flags=re.M)


def _constraints(description: Mapping[str, Any]) -> str:
    inputs = [port["name"] for port in description["ports"] if port["direction"] == "input"]
    if description["reset"] is not None:
        inputs.append(description["reset"]["name"])
    clock = description["clock"]["name"]
    return _SDC.format(top=description["top"], period=_PERIOD, clock=clock, inputs=" ".join(inputs))


def _librelane(description: Mapping[str, Any], stem: str) -> str:
    """A configuration to begin with; memories are flops until macros replace them."""
    settings = {
        "DESIGN_NAME": description["top"],
        "VERILOG_FILES": [f"dir::{stem}.v"],
        "CLOCK_PORT": description["clock"]["name"],
        "CLOCK_PERIOD": _PERIOD,
        "PNR_SDC_FILE": f"dir::{stem}.sdc",
        "SIGNOFF_SDC_FILE": f"dir::{stem}.sdc",
    }
    return json.dumps(settings, indent=2) + "\n"
