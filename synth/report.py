"""What blocks cost: ``python -m synth.report``."""

import argparse
import itertools
import re
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from golden import optional
from golden.command_line import Parser, count, program
from synth import command, picture, place, render, targets
from synth.measure import AreaReport, Component, measure

__all__ = ["AreaReport", "Component", "main", "measure"]

_DESCRIPTION = """\
Synthesize blocks and report where the area goes.

Areas are cell areas after synthesis, without placement, wires or a clock tree. Every design goes through the
same few ways (components kept apart or dissolved, for area or for speed); the smallest result that meets the
clock period counts. Timing is by OpenSTA (Debian and Ubuntu: apt-get install opensta); without it a library
gives areas only, from a flow that knows no clock, and they are marked so.
"""
_EPILOG = """\
examples:
  python -m synth.report --block tile --preset edge
  python -m synth.report --block tile --target nangate45.lib.gz --period 1.0 --out area/
  python -m synth.report --block accelerator --target nangate45.lib.gz --memories 0.5
  python -m synth.report --block tile --target ecp5 --target ice40
"""


def parser() -> Parser:
    """The command line."""
    found = Parser(
        prog="python -m synth.report",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add(
        "--preset",
        action="append",
        type=command.preset_name,
        metavar="NAME",
        help="configuration; may be repeated",
    )
    add("--config", type=Path, metavar="FILE.toml", help="configuration file, besides or instead of presets")
    add(
        "--block",
        action="append",
        type=command.block_name,
        metavar="NAME",
        help="block; may be repeated (tile)",
    )
    add(
        "--target",
        action="append",
        type=command.target_name,
        metavar="TARGET",
        help=f"{targets.describe()}; may be repeated (generic)",
    )
    add(
        "--period",
        type=command.positive,
        metavar="NS",
        help="clock period in ns (each library has its own); needs OpenSTA",
    )
    command.add_memories(found)
    add(
        "--flatten",
        action="store_true",
        help="dissolve all components: one row; slow for large designs",
    )
    command.add_quick(found)
    add(
        "--place",
        action="store_true",
        help="also place and route, for an FPGA: the clock that it reaches (ecp5; needs nextpnr)",
    )
    add("--out", type=command.folder, metavar="DIR", help="write report.json, report.md and pictures here")
    return found


def _report(arguments: argparse.Namespace) -> None:
    chosen = arguments.target or ["generic"]
    for target in chosen if arguments.place else ():
        place.check(targets.parse(target))
    placing = ("--place", optional.NEXTPNR, arguments.place)
    command.require(chosen, arguments.period, arguments.out, placing)
    presets = arguments.preset or ([] if arguments.config else ["edge"])
    configs = command.configurations(presets, arguments.config)
    blocks = arguments.block or ["tile"]
    console = Console()
    results = []
    jobs = list(itertools.product(configs.items(), blocks, chosen))
    for number, ((name, config), block, target) in enumerate(jobs, 1):
        with _progress(console, f"[{number}/{len(jobs)}] {name}: ") as progress:
            report = measure(
                command.build(block, config),
                block,
                target,
                arguments.period,
                recipes=command.ways(target, arguments.quick, arguments.flatten),
                placed=arguments.place,
                progress=progress,
            )
        rates = command.macs_per_cycle(block, config)
        results.append(render.Result(report, rates, name, arguments.memories))
        render.print_result(console, results[-1])
    if arguments.out:
        command.publish(arguments.out, lambda folder: write(results, folder))
        pictures = count(len(results), "picture")
        console.print(f"\nwritten to {arguments.out}: report.json, report.md and {pictures}")


@contextmanager
def _progress(console: Console, prefix: str):
    """A spinner with the step at work."""
    with console.status(prefix) as status:
        yield lambda step: status.update(prefix + step)


def write(results: list[render.Result], folder: Path) -> None:
    """Write report.json, report.md and one picture for each result."""
    pictures = {}
    for result in results:
        pictures[result.title] = "area-" + re.sub(r"[^A-Za-z0-9]+", "-", result.title).strip("-") + ".png"
        picture.draw(result.report, result.title, folder / pictures[result.title])
    (folder / "report.json").write_text(command.as_json([render.to_dict(result) for result in results]))
    (folder / "report.md").write_text(render.markdown(results, pictures))


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command.run(parser(), _report, argv)


if __name__ == "__main__":
    raise SystemExit(main())
