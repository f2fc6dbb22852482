"""Proofs: every ``Assert`` of a design, for all inputs that its ``Assume`` statements allow and for all time.

The engine is ABC's property-directed reachability, which finds the inductive invariant itself; Yosys turns
the design into its and-inverter graph. Both come with pyosys. Registers start at their initial
values, also those that a reset leaves alone.
"""

import re
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from golden import optional

__all__ = ["Refuted", "Undecided", "prove"]

_SCRIPT = """
read_rtlil design.il
hierarchy -top top
proc
flatten
delete -output
chformal -lower
async2sync
opt -full
techmap
opt -full
dffunmap
simplemap
setundef -undriven -init -zero
aigmap
opt_clean
write_aiger -zinit design.aig
"""

_YOSYS = "import sys; from pyosys import libyosys as ys; ys.run_pass('script ' + sys.argv[1], ys.Design())"


class Refuted(AssertionError):
    """An assertion can fail; ``cycle`` is the first one in which it does."""

    def __init__(self, cycle: int) -> None:
        super().__init__(f"an assertion fails in cycle {cycle}")
        self.cycle = cycle


class Undecided(RuntimeError):
    """The engine ran out of time or did not understand the design; the text is the end of its log."""


def prove(design: wiring.Component, seconds: int = 300) -> int:
    """Prove the design's assertions; returns the number of clauses of the invariant.

    Args:
        design: its inputs are chosen by the engine; reset is one of them.
        seconds: limit of the engine.

    Raises:
        Refuted: an assertion can fail.
        Undecided: no answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil.convert(design, name="top", emit_src=False))
        (folder / "design.ys").write_text(_SCRIPT)
        log = _run([sys.executable, "-c", _YOSYS, "design.ys"], folder)
        if not (folder / "design.aig").exists():
            raise Undecided(log[-2000:])
        commands = f"read_aiger design.aig; fold; scorr; dc2; pdr -T {seconds}"
        log = _run([str(_abc()), "-c", commands], folder)
    if asserted := re.search(r"asserted in frame (\d+)", log):
        raise Refuted(int(asserted.group(1)))
    if "Property proved" not in log:
        raise Undecided(log[-2000:])
    invariant = re.search(r"invariant with (\d+) clauses", log)
    return int(invariant.group(1)) if invariant else 0


def _abc() -> Path:
    spec = util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise Undecided(optional.YOSYS.missing("a proof"))
    return Path(spec.origin).with_name("yosys-abc")


def _run(command: list[str], folder: Path) -> str:
    """Everything that a command prints."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout.decode(errors="replace")
