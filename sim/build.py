"""Build a component for a simulator, once for each content.

A build is kept in the cache under the hash of everything it depends on; processes that want the same one
wait for each other.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from cocotb_tools import runner as cocotb_runner

from sim import context, domain, toolchain
from sim.design import TOP, BenchFailure, Design

__all__ = ["LIMIT_SECONDS", "TOP", "BenchFailure", "Design", "build", "cocotb_runner_for", "waves"]

LIMIT_SECONDS = 1200  # wall-clock limit of one command, for loops that no cycle limit can see

_REPOSITORY = Path(__file__).resolve().parents[1]
_SHOWN_LINES = 60  # of a failing log

_OPTIMISATION = "-O0"  # of C++: compiles in 0.6 of the time of -O1, and most of a run's time is Python's

_ONE_FILE = "VM_PARALLEL_BUILDS=0"  # each file apart would read all headers, or two compiled ones of 72 MB

_COCOTB = "COCOTB_"  # prefix of the variables that steer cocotb

#: The head of a combinational process that holds an assertion.
_COMBINATIONAL_ASSERTION = re.compile(r"always @\*(?=\s+if \([^\n]*\) begin\s+assert\b)")


def settled_text(design: Design) -> str:
    """The Verilog for Icarus: combinational assertions look when the values have settled.

    Icarus evaluates them at every step on the way, where they may fail for no time at all.
    """
    return _COMBINATIONAL_ASSERTION.sub(rf"\g<0> #{domain.SETTLED}", design.text)


class _Limited(cocotb_runner.Runner):
    """A cocotb runner with a wall-clock limit, whose commands see the repository and the given variables."""

    extra: Mapping[str, str] = {}

    def _set_env_common(self) -> None:
        """The caller's environment, but for what would choose tests or seeds in place of this run."""
        own = {name: value for name, value in self.env.items() if name.startswith(_COCOTB)}
        super()._set_env_common()
        self.env = {name: value for name, value in self.env.items() if not name.startswith(_COCOTB)}
        self.env |= own | dict(self.extra)
        self.env["PYTHONPATH"] = os.pathsep.join([str(_REPOSITORY), *sys.path])

    def _execute_cmds(self, cmds: Sequence[list[str]], cwd: Any, stdout: TextIO | None = None) -> None:
        for command in cmds:
            subprocess.run(
                command,
                cwd=cwd,
                env=self.env,
                check=True,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_SECONDS,
            )


class _Verilator(_Limited, cocotb_runner.Verilator):
    """The repaired Verilator, with the ports alone visible instead of every signal: faster."""

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(toolchain.verilator_tree() / "bin" / "verilator_bin")

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        verilate.remove("--public-flat-rw")
        return [verilate, [*make, f"OPT_FAST={_OPTIMISATION}", _ONE_FILE]]


class _Icarus(_Limited, cocotb_runner.Icarus):
    """Icarus as it is."""


def cocotb_runner_for(simulator: str, extra: Mapping[str, str]) -> _Verilator | _Icarus:
    """A silent cocotb runner; ``extra`` environment variables reach the build or the simulation."""
    runner = _Verilator() if simulator == "verilator" else _Icarus()
    runner.extra = extra
    runner.log.setLevel("CRITICAL")
    return runner


def waves() -> bool:
    """Whether ``WAVES`` asks for waveforms."""
    return os.environ.get("WAVES", "0") not in ("", "0")


def build(design: Design, simulator: str) -> Path:
    """Build folder of a design, filled on first use; the lock keeps other processes waiting meanwhile."""
    control = design.control_file() if simulator == "verilator" else ""
    text = design.text if simulator == "verilator" else settled_text(design)
    parts = (simulator, toolchain.versions(simulator), str(waves()), control, text)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    folder = toolchain.cache_directory() / "designs" / f"{simulator}-{key}"
    complete = folder / "complete"
    if complete.exists():
        return folder
    with toolchain.locked(folder.with_suffix(".lock")):
        if complete.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sources = _write(folder, text, control)
        if simulator == "verilator":
            _verilate(folder, sources)
        else:
            _compile(cocotb_runner_for(simulator, {}), folder, sources)
        complete.touch()
    return folder


def _write(folder: Path, text: str, control: str) -> list[Path]:
    """The simulator's source files: a control file if there is one, and the Verilog."""
    contents = {"ports.vlt": control, f"{TOP}.v": text}
    sources = [folder / name for name, content in contents.items() if content]
    for path in sources:
        path.write_text(contents[path.name])
    return sources


def _verilate(folder: Path, sources: Sequence[Path]) -> None:
    """Compile with Verilator; what is left is the program and its log."""
    for compiled in _runtime().glob("*.o"):
        shutil.copy(compiled, folder)
    _compile(cocotb_runner_for("verilator", toolchain.build_environment()), folder, sources)
    for path in folder.iterdir():
        if path not in sources and path.name not in (TOP, "build.log"):
            path.unlink()


def _runtime() -> Path:
    """Verilator's compiled run-time library, the same for every design; made once, with a wire as design."""
    versions = hashlib.sha256(f"{toolchain.versions('verilator')} {waves()}".encode()).hexdigest()[:20]
    library = toolchain.cache_directory() / f"runtime-{versions}"
    if library.exists():
        return library
    with toolchain.locked(library.with_name(f"{library.name}.lock")):
        if not library.exists():
            folder = Path(tempfile.mkdtemp(prefix=".runtime-", dir=library.parent))
            text = f"module {TOP}(i, o); input i; output o; assign o = i; endmodule\n"
            wire = Design(text, {"i": context.Port(1, True), "o": context.Port(1, False)}, False)
            sources = _write(folder, text, wire.control_file())
            _compile(cocotb_runner_for("verilator", toolchain.build_environment()), folder, sources)
            for path in folder.iterdir():
                if not path.match("verilated*.o"):
                    path.unlink()
            folder.rename(library)
    return library


def _compile(runner: _Verilator | _Icarus, folder: Path, sources: Sequence[Path]) -> None:
    log = folder / "build.log"
    try:
        runner.build(
            sources=sources,
            hdl_toplevel=TOP,
            build_dir=folder,
            timescale=("1ns", "1ns"),
            log_file=log,
            waves=waves(),
        )
    except (subprocess.SubprocessError, SystemExit, RuntimeError) as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])
        raise BenchFailure(f"the design does not build: {error}\n{tail}\nfiles in {folder}") from None
