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
from sim.build import TOP, BenchFailure, Design

__all__ = ["build", "build_core"]

_OWN = tuple(
    Path(__file__).with_name(name)
    for name in ("memory.h", "memory.cpp", "simulation.h", "simulation.cpp", "kvloom_platform.h")
)

#: Assertions are checked; what is unknown at the beginning is whatever makes the program fast.
_VERILATOR = ("--cc", "-O3", "--assert", "-Wno-SYMRSVDWORD", "--x-assign", "fast", "--x-initial", "fast")

_STANDARDS = {".cpp": "-std=gnu++20", ".c": "-std=c99"}
_SPEED = "-O3"
_SELDOM = "-O0"  # of what runs at the beginning only, as Verilator knows, and of its messages
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
    tree = toolchain.verilator_tree()
    tracing = ("--trace-vcd", "--trace-underscore") if waves else ()
    verilate = (tree / "bin" / "verilator_bin", *_VERILATOR, *tracing, "--top-module", TOP)
    _run(folder, *verilate, "--prefix", f"V{TOP}", "-Mdir", "model", "rules.vlt", f"{TOP}.v")

    include = tree / "include"
    runtime = ("verilated.cpp", "verilated_threads.cpp", *(("verilated_vcd_c.cpp",) if waves else ()))
    sources = [include / name for name in runtime]
    sources += [path for path in folder.rglob("*") if path.suffix in _STANDARDS]
    sources.sort(
        key=lambda path: -path.stat().st_size
    )  # none that takes long begins when the others are done
    options = ["-fPIC", "-w", f"-DVM_TRACE={waves:d}", f"-DVM_TRACE_VCD={waves:d}", "-DVL_USER_STOP"]
    options += [f"-I{path}" for path in (folder, folder / "model", include, include / "vltstd")]
    progress.update(task, description="compiling", total=len(sources))

    def compiled(source: Path) -> Path:
        target = folder / f"{source.name}.o"
        _run(folder, *_compiler(source), *options, "-c", source, "-o", target)
        progress.advance(task)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    _run(folder, "g++", "-shared", "-o", "core.so", *objects, "-pthread")
    progress.remove_task(task)
    return folder / "core.so"


def _compiler(source: Path) -> tuple[str, ...]:
    cache = ("ccache",) if shutil.which("ccache") else ()
    program = "gcc" if source.suffix == ".c" else "g++"
    seldom = source.stem.endswith("__Slow") or source.stem.startswith("verilated")
    return (*cache, program, _STANDARDS[source.suffix], _SELDOM if seldom else _SPEED)


def _run(folder: Path, *command: str | Path) -> None:
    environment = os.environ | toolchain.build_environment()
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BenchFailure(f"{Path(command[0]).name} failed\n{(ended.stdout + ended.stderr)[-_SHOWN:]}")
