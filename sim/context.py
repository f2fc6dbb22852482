"""What a bench inside the simulator knows of its run: the parameters, the ports, where results go.

The runner writes one JSON file a run and names it in ``KVLOOM_BENCH``; a file, because vectors outgrow
what the system allows in one environment variable.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["VARIABLE", "Port", "clocked", "parameters", "ports", "results_directory"]

VARIABLE = "KVLOOM_BENCH"


class Port(NamedTuple):
    """One port of the top module: ``width`` in bits, ``is_input`` as seen from the design."""

    width: int
    is_input: bool


@functools.cache
def _context() -> dict[str, Any]:
    path = os.environ.get(VARIABLE)
    if path is None:
        raise RuntimeError(f"{VARIABLE} is not set: benches run through sim.runner.run")
    return json.loads(Path(path).read_text())


def parameters() -> dict[str, Any]:
    """The ``parameters`` given to ``sim.runner.run``, after a trip through JSON."""
    return _context()["parameters"]


@functools.cache
def ports() -> dict[str, Port]:
    """Every port of the design by name, without clock and reset."""
    return {name: Port(*port) for name, port in _context()["ports"].items()}


def clocked() -> bool:
    """Whether the design has clock and reset; a combinational one has neither."""
    return _context()["clocked"]


def results_directory() -> Path:
    """Where this run leaves files that outlive it."""
    return Path(_context()["results"])
