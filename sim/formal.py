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

__all__ = ["Refuted", "Undecided", "prove", "prove_by_induction"]

_SCRIPT = """
read_rtlil design.il
hierarchy -top top
proc
flatten
delete -output
memory
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
    log = _solve(design, f"scorr; dc2; pdr -T {seconds}")
    if "Property proved" not in log:
        raise Undecided(log[-2000:])
    invariant = re.search(r"invariant with (\d+) clauses", log)
    return int(invariant.group(1)) if invariant else 0


def prove_by_induction(design: wiring.Component, depth: int) -> None:
    """Prove the design's assertions where so many cycles without a failure lead to another one.

    It serves where they compare numbers, of which reachability would look at single bits.

    Args:
        design: its inputs are chosen by the engine; reset is one of them.
        depth: cycles from a reset and from any state, at least 1.

    Raises:
        Refuted: an assertion can fail.
        Undecided: the step does not hold.
    """
    log = _solve(design, f"orpos; bmc3 -F {depth + 1}; scorr; dc2; ind -F {depth}")
    if f"No output asserted in {depth + 1} frames" not in log or "Networks are equivalent" not in log:
        raise Undecided(log[-2000:])


def _solve(design: wiring.Component, commands: str) -> str:
    """What ABC says to these commands for a design in which assumptions are folded into the assertions."""
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil.convert(design, name="top", emit_src=False))
        (folder / "design.ys").write_text(_SCRIPT)
        log = _run([sys.executable, "-c", _YOSYS, "design.ys"], folder)
        if not (folder / "design.aig").exists():
            raise Undecided(log[-2000:])
        log = _run([str(_abc()), "-c", f"read_aiger design.aig; fold; {commands}"], folder)
    if asserted := re.search(r"asserted in frame (\d+)", log):
        raise Refuted(int(asserted.group(1)))
    return log


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
