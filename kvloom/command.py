"""The console command: ``kvloom PROGRAM ...`` is ``python -m PACKAGE.PROGRAM ...`` from any folder.

A folder of the user's own with the name of one of kvloom's packages is in its way only for ``python -m``.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import kvloom
from golden.command_line import CALLED, Parser, program

__all__ = ["PROGRAMS", "main"]


class _Program(NamedTuple):
    """Where a program is, and what it does in one line."""

    module: str
    summary: str


PROGRAMS = {
    "generate": _Program("hw.generate", "write a block's Verilog and its manifest"),
    "quantize": _Program("golden.quantize", "quantise the linear layers of a model and pack them"),
    "evaluate": _Program("golden.evaluate", "perplexity of models with quantised weights and caches"),
    "speak": _Program("golden.generate", "answer a prompt with a quantised model"),
    "tune": _Program("golden.tune", "find the bits of every layer's keys and values"),
    "accuracy": _Program("golden.accuracy", "error that the hardware's roundings add"),
    "agreement": _Program("golden.agreement", "published rules of KV caches beside kvloom's own"),
    "report": _Program("synth.report", "area and clock of blocks"),
    "compare": _Program("synth.compare.__main__", "a block beside the units that it replaces"),
    "sweep": _Program("synth.sweep.__main__", "area and clock over a design space"),
    "model": _Program("synth.model.__main__", "speed of whole models on an accelerator"),
    "compile": _Program("golden.compile", "make a memory image for the decode core"),
    "decode": _Program("sim.decode", "continue a prompt on the simulated decode core"),
    "coverage": _Program("sim.coverage", "functional coverage of the benches"),
}
"""Every program by its name; ``generate`` is the hardware's, that of the golden model is ``speak``."""


def _listing() -> str:
    return "\n".join(f"  {name:10} {entry.summary}" for name, entry in PROGRAMS.items())


@program
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program that the first argument names; returns its exit status.

    Args:
        arguments: the program's name and its arguments; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: kvloom PROGRAM ...\n\n{_listing()}\n\nkvloom PROGRAM --help says more of one of them.")
        return 0
    if words[0] == "--version":
        print(f"kvloom {kvloom.__version__}")
        return 0
    name, *rest = words
    if name not in PROGRAMS:
        Parser(prog="kvloom").error(f"program {name!r} must be one of {', '.join(PROGRAMS)}")
    before = CALLED.set(f"kvloom {name}")
    try:
        return importlib.import_module(PROGRAMS[name].module).main(rest)
    finally:
        CALLED.reset(before)


if __name__ == "__main__":
    sys.exit(main())
