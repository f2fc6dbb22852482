"""The Verilated core, its memory and its driver as one shared library, built once for each content."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import Progress

from hw import blocks, driver
from hw.config import Config
from sim import toolchain
from sim.design import TOP, BenchFailure, Design

__all__ = ["build", "build_core"]

_OWN = tuple(
    Path(__file__).with_name(name)
    for name in ("memory.h", "memory.cpp", "simulation.h", "simulation.cpp", "kvloom_platform.h")
)

#: Assertions are checked; what is unknown at the beginning is whatever makes the program fast.
_VERILATOR = ("--cc", "-O3", "--assert", "--x-assign", "fast", "--x-initial", "fast")

_STANDARDS = {".cpp": "-std=gnu++20", ".c": "-std=c99"}
_SPEED = "-O1"  # compiles in two thirds of the time of -O3, and what comes out is no slower
_SELDOM = "-O0"  # of what runs at the beginning only, as Verilator knows, and of its messages
_JOINED = "seldom.cpp"
_SHOWN = 4000  # characters of what a failing command said


def build(
    design: Design,
    extra: Mapping[str, str] | None = None,
    waves: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The library of a circuit with the ports of the block ``core``, from the cache if it is there.

    Args:
        design: the circuit.
        extra: name to text of C files that become part of it.
        waves: cycles can be recorded; makes all of them slower.
        progress: shows how far the build is.

    Raises:
        BenchFailure: the build failed; the text ends as the compiler's did.
    """
    if (problem := toolchain.available("verilator")) is not None:
        raise BenchFailure(f"verilator cannot run: {problem}")
    files = {path.name: path.read_text() for path in _OWN} | dict(extra or {})
    files |= {f"{TOP}.v": design.text, "rules.vlt": design.control_file(visible=False)}
    parts = [
        toolchain.versions("verilator"),
        str(waves),
        Path(__file__).read_text(),
        str(sorted(files.items())),
    ]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    library = toolchain.cache_directory() / "cores" / f"{key}.so"
    with toolchain.locked(library.with_suffix(".lock")):
        if not library.exists():
            with tempfile.TemporaryDirectory(prefix=".core-", dir=library.parent) as name:
                folder = Path(name)
                for file, text in files.items():
                    (folder / file).write_text(text)
                _built(folder, waves, progress or Progress(disable=True)).rename(library)
    return library


def build_core(config: Config, waves: bool = False, progress: Progress | None = None) -> Path:
    """The library of the block ``core`` with its driver; arguments as of ``build``."""
    task = progress.add_task("netlist", total=None) if progress else None
    design = Design.of_type(blocks.get("core"), config)
    if progress and task is not None:
        progress.remove_task(task)
    return build(design, driver.files(), waves, progress)


def _built(folder: Path, waves: bool, progress: Progress) -> Path:
    """The library of the files in a folder."""
    task = progress.add_task("Verilator", total=None)
    runtime = _runtime(waves)
    tracing = ("--trace-vcd", "--trace-underscore") if waves else ()
    verilate = (toolchain.verilator_tree() / "bin" / "verilator_bin", *_VERILATOR, *tracing)
    made = ("--top-module", TOP, "--prefix", f"V{TOP}", "-Mdir", "model")
    _run(folder, *verilate, *made, "rules.vlt", f"{TOP}.v")
    sources = _joined(folder)
    sources.sort(key=lambda path: -path.stat().st_size)  # the longest first
    progress.update(task, description="compiling", total=len(sources))

    def compiled(source: Path) -> Path:
        target = folder / f"{source.name}.o"
        speed = _SELDOM if source.name == _JOINED else _SPEED
        _compile(source, target, waves, speed, f"-I{folder}", f"-I{folder / 'model'}")
        progress.advance(task)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    _run(folder, "g++", "-shared", "-o", "core.so", *objects, runtime, "-pthread")
    progress.remove_task(task)
    return folder / "core.so"


def _joined(folder: Path) -> list[Path]:
    """Sources in a folder; what runs seldom becomes one file, as each one would read the same headers."""
    found = [path for path in folder.rglob("*") if path.suffix in _STANDARDS]
    seldom = {path for path in found if path.stem.endswith("__Slow")}
    joined = folder / _JOINED
    joined.write_text("".join(f'#include "{path.name}"\n' for path in sorted(seldom)))
    return [joined, *(path for path in found if path not in seldom)]


def _runtime(waves: bool) -> Path:
    """Verilator's own part, the same in every library; it writes messages and waveforms."""
    key = hashlib.sha256(f"{toolchain.versions('verilator')} {Path(__file__).read_text()}".encode())
    compiled = toolchain.cache_directory() / "cores" / f"runtime-{key.hexdigest()[:20]}-{waves:d}.o"
    with toolchain.locked(compiled.with_suffix(".lock")):
        if not compiled.exists():
            with tempfile.TemporaryDirectory(prefix=".runtime-", dir=compiled.parent) as name:
                source = Path(name) / "runtime.cpp"
                parts = ("verilated", "verilated_threads", *(("verilated_vcd_c",) if waves else ()))
                source.write_text("".join(f'#include "{part}.cpp"\n' for part in parts))
                _compile(source, source.with_suffix(".o"), waves, _SELDOM)
                source.with_suffix(".o").rename(compiled)
    return compiled


def _compile(source: Path, target: Path, waves: bool, *options: str) -> None:
    cache = ("ccache",) if shutil.which("ccache") else ()
    program = "gcc" if source.suffix == ".c" else "g++"
    include = toolchain.verilator_tree() / "include"
    own = ("-fPIC", "-w", "-DVL_USER_STOP", f"-DVM_TRACE={waves:d}", f"-DVM_TRACE_VCD={waves:d}")
    headers = (f"-I{include}", f"-I{include / 'vltstd'}", *options)
    command = (*cache, program, _STANDARDS[source.suffix], *own, *headers)
    _run(target.parent, *command, "-c", source, "-o", target)


def _run(folder: Path, *command: str | Path) -> None:
    environment = os.environ | toolchain.build_environment()
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BenchFailure(f"{Path(command[0]).name} failed\n{(ended.stdout + ended.stderr)[-_SHOWN:]}")
