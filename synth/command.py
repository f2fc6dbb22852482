"""What the command lines of this package share: one-line errors, blocks, configurations, results on disk."""

import argparse
import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden import optional
from golden.command_line import Parser
from synth import asic, memories, place, targets, timing, yosys

__all__ = [
    "Clock",
    "add_memories",
    "add_quick",
    "baselines",
    "block_names",
    "build",
    "clock",
    "configurations",
    "macros",
    "macs_per_cycle",
    "operands",
    "publish",
    "require",
    "run",
    "ways",
]


def run(parser: Parser, action: Callable[[argparse.Namespace], None], argv: list[str] | None) -> int:
    """Parse, act, and turn what the user did wrong into one line; returns the exit status."""
    arguments = parser.parse_args(argv)
    try:
        action(arguments)
    except BrokenPipeError:  # the reader has gone, which is no error
        raise
    except (ValueError, yosys.YosysError, timing.TimingError, place.PlaceError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return 0


def require(names: Sequence[str], period: object, out: Path | None, *more: optional.Need) -> None:
    """Go on only where everything is installed that synthesis needs.

    Args:
        names: targets.
        period: clock period asked for, or several, if any.
        out: where pictures go, if anywhere.
        more: what the command needs beside that.

    Raises:
        golden.optional.MissingPart: names all that is missing.
    """
    clocked = any(isinstance(targets.parse(name), targets.Asic) for name in names)
    optional.require(
        ("synthesis", optional.YOSYS, True),
        ("a clock period", optional.OPENSTA, period and clocked),
        ("a picture", optional.MATPLOTLIB, out),
        *more,
    )


def positive(text: str) -> float:
    """A clock period in ns: above 0 and at most 1000."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and at most 1000 (ns)")
    return value


@dataclass(frozen=True)
class Clock:
    """A clock period in ns, or, where ``relative``, in the period that each library has of its own."""

    period: float
    relative: bool = False

    def on(self, target: str) -> float:
        """The period on a standard-cell target in ns."""
        goal = targets.parse(target)
        own = 1.0 if isinstance(goal, targets.Fpga) else goal.period
        return round(self.period * own, 4) if self.relative else self.period


def clock(text: str) -> Clock:
    """A clock period: ``2.5`` is in ns, ``2x`` is twice a library's own."""
    number = text.removesuffix("x")
    try:
        return Clock(positive(number), relative=number != text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a number above 0 and at most 1000 (ns), or, with an x, of the library's own"
        ) from None


def target_name(text: str) -> str:
    """A target that exists; it is read and checked here."""
    try:
        targets.parse(text)
    except targets.TargetError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("target: ")) from None
    return text


def macros(text: str) -> memories.Macros:
    """What memories cost: an area of a bit, or macros of a library."""
    try:
        return memories.parse(text)
    except memories.MacrosError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_memories(parser: Parser) -> None:
    """The option that counts memories."""
    parser.add_argument(
        "--memories",
        type=macros,
        metavar="MACROS",
        help="count memories too: area of a bit (0.5), or Liberty files of macros or a folder of them",
    )


def add_quick(parser: Parser) -> None:
    """The option for a single mapper."""
    parser.add_argument(
        "--quick", action="store_true", help="one fast mapper for everything: larger, much sooner"
    )


def folder(text: str) -> Path:
    """A directory that exists or can be made."""
    path = Path(text)
    existing = next((part for part in (path, *path.parents) if part.exists()), Path())
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a directory, {str(existing)!r} is a file")
    return path


def block_names() -> tuple[str, ...]:
    """Names of the hardware blocks."""
    return tuple(importlib.import_module("hw.blocks").names())


def block_name(text: str) -> str:
    """The name of a block that exists."""
    if text not in block_names():
        raise argparse.ArgumentTypeError(f"{text!r} must be one of {', '.join(block_names())}")
    return text


def configurations(presets: list[str], file: Path | None) -> dict[str, Any]:
    """Configuration objects by name.

    Raises:
        ValueError: the file is not a configuration.
    """
    config = importlib.import_module("hw.config")
    found = {name: config.preset(name) for name in presets}
    if file is not None:
        found[file.stem] = config.load(file)
    return found


def preset_name(text: str) -> str:
    """The name of a preset that exists."""
    names = tuple(importlib.import_module("hw.config").presets())
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} must be one of {', '.join(names)}")
    return text


def build(block: str, config: Any) -> Any:
    """The Amaranth component of a block."""
    return importlib.import_module("hw.blocks").get(block)(config)


def macs_per_cycle(block: str, config: Any) -> dict[str, float]:
    """Multiplications a cycle by data type; empty where a block does not multiply."""
    rates = getattr(importlib.import_module("hw.blocks"), "macs_per_cycle", None)
    return dict(rates(block, config)) if rates else {}


def baselines() -> tuple[str, ...]:
    """Names of the blocks that others are compared with."""
    found = getattr(importlib.import_module("hw.blocks"), "baselines", None)
    return tuple(found()) if found else ("fp16_mac",)


def operands(block: str) -> str:
    """What a block multiplies, in a few words."""
    found = getattr(importlib.import_module("hw.blocks"), "operands", None)
    return str(found(block)) if found else ""


def ways(target: str, quick: bool, flatten: bool) -> tuple[asic.Recipe, ...] | None:
    """Recipes to try for the options given; None for the usual ones."""
    goal = targets.parse(target)
    if isinstance(goal, targets.Fpga) or not (quick or flatten):
        return None
    mapper = asic.MIXED if not quick else "tight map" if goal.timed else "nf"
    return (asic.Recipe(flatten, mapper),)


def publish(out: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary directory, then move its files into ``out``: all of them or none."""
    with tempfile.TemporaryDirectory(prefix="synth-") as name:
        write(Path(name))
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(name).iterdir()):
            shutil.move(file, out / file.name)


def as_json(data: Any) -> str:
    """JSON text, indented, with a final newline."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
