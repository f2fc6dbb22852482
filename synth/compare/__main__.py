"""The array against conventional multipliers and published ones: ``python -m synth.compare``.

All designs are measured by one flow at one clock, then at the next one, on every library. A tile does several
multiplications a cycle, so the areas of one multiplication a cycle are compared; everything of the tile is in
its area, from the alignment of activations to the conversion of results, while the baselines are single units
without any such overhead.
"""

import argparse
import importlib
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from golden import optional
from golden.command_line import Parser, program
from synth import asic, command, render, targets
from synth.compare import dot_errors, overview, pictures
from synth.compare.results import Comparison, Measured, markdown
from synth.measure import measure
from synth.memories import Macros
from synth.power import energy, gates

__all__ = ["Comparison", "compare", "main"]

_EPILOG = """\
examples:
  python -m synth.compare --target nangate45.lib.gz --period 1.0 --energy --out comparison/
  python -m synth.compare --target nangate45.lib.gz --target sky130hd.lib.gz --period 1x 2x --out clocks/
  python -m synth.compare --lanes 4 8 --activation-bits 8 16 --baseline fp16_mac --quick
"""

_DEFAULT_BLOCK, _YARDSTICK = "tile", "fp16_dot"

_WIDE = 130
_NARROW = ("design", "", "area", "", "ns", "rate", "each", "ratio", "pJ", "ratio")
_NARROW_MEMORIES = (*_NARROW[:8], "whole", "ratio", *_NARROW[8:])
"""Titles on terminals narrower than _WIDE; columns without one are left out."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Design:
    """A design to measure: block, configuration, and the label that tells variants apart."""

    block: str
    config: Any
    label: str


def compare(
    ours: Sequence[Design],
    baselines: Sequence[Design],
    target: str,
    period: float | None,
    *,
    datatype: str | None = None,
    recipes: tuple[asic.Recipe, ...] | None = None,
    macros: Macros | None = None,
    workload: Callable[[Design, str], energy.Workload] | None = None,
    progress: Progress = lambda _: None,
) -> Comparison:
    """Measure designs by the same flow.

    Args:
        ours: the block and its variants; the first is what ratios are relative to.
        baselines: what it is compared with.
        target: a standard-cell target.
        period: clock period in ns; None for the target's own.
        datatype: data type compared; None takes the block's fastest of 4 bits (a name with ``4``).
        recipes: ways to try; None tries all.
        macros: what memories cost; None leaves them out.
        workload: what a design does while its energy is measured; None measures none.
        progress: called with a few words before each step.

    Raises:
        golden.optional.MissingPart: Yosys is missing, OpenSTA for a given period, or Icarus for a workload.
        ValueError: the block has no rate for the data type.
    """
    optional.require(("energy", optional.ICARUS, workload))
    rates = command.macs_per_cycle(ours[0].block, ours[0].config)
    datatype = datatype or _four_bits(rates)
    if datatype not in rates:
        raise ValueError(
            f"datatype: {datatype!r} must be one of {', '.join(rates) or 'none: it does not multiply'}"
        )

    def measured(design: Design) -> Measured:
        with tempfile.TemporaryDirectory(prefix="synth-") as folder:
            component = command.build(design.block, design.config)
            keep = Path(folder) if workload else None
            report = measure(
                component, design.block, target, period, recipes=recipes, keep=keep, progress=progress
            )
            found = Measured(
                design.block,
                design.label,
                command.operands(design.block),
                render.Result(report, command.macs_per_cycle(design.block, design.config), macros=macros),
            )
            if workload is None:
                return found
            if report.netlist is None:
                return replace(found, note=report.untimed)
            own = found.own_type(datatype)
            progress(f"{design.label}: energy")
            try:
                result = energy.measure(report.netlist, workload(design, own), own)
            except KeyError:
                return replace(found, note="no workload")
            except gates.GateSimulationError as error:
                return replace(found, note=str(error))
            return replace(found, energy=result)

    return Comparison(
        targets.parse(target).name,
        datatype,
        tuple(measured(design) for design in ours),
        tuple(measured(design) for design in baselines),
        optional.versions(optional.ICARUS) if workload else {},
    )


def variants(design: Design, field: str, values: Sequence[int]) -> list[Design]:
    """The design with other values of one field of its configuration.

    Raises:
        hw.config.ConfigurationError: a value is out of range.
    """
    present = getattr(design.config, field)
    return [
        Design(
            design.block,
            design.config.changed(**{field: value}),
            f"{design.block}, {value} {field.replace('_', ' ')}",
        )
        for value in values
        if value != present
    ]


def _four_bits(rates: dict[str, float]) -> str:
    four = {name: rate for name, rate in rates.items() if "4" in name}
    return max(four or rates, key=lambda name: rates[name], default="")


def parser() -> Parser:
    """The command line."""
    found = Parser(
        prog="python -m synth.compare",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--preset", type=command.preset_name, default="edge", metavar="NAME", help="configuration (edge)")
    add("--config", type=Path, metavar="FILE.toml", help="configuration file instead of a preset")
    add(
        "--target",
        type=_asic_name,
        action="append",
        metavar="TARGET",
        help="generic or Liberty files (generic); repeat it for several libraries",
    )
    add(
        "--period",
        type=command.clock,
        nargs="+",
        action="extend",
        metavar="NS",
        help="clock periods in ns, or multiples of each library's own: 1x 2x (1x); needs OpenSTA",
    )
    add("--block", type=command.block_name, default=_DEFAULT_BLOCK, metavar="NAME", help="block (tile)")
    add(
        "--baseline",
        type=command.block_name,
        nargs="+",
        metavar="NAME",
        help="baselines (all that there are), the yardstick first",
    )
    command.add_memories(found)
    add(
        "--also",
        type=command.block_name,
        nargs="+",
        default=(),
        metavar="NAME",
        help="further blocks beside the block, each with all that it holds (accelerator)",
    )
    add("--lanes", type=int, nargs="+", default=(), metavar="N", help="further variants of the block")
    add("--activation-bits", type=int, nargs="+", default=(), metavar="N", help="further variants")
    add("--datatype", metavar="NAME", help="data type compared (the block's fastest of 4 bits)")
    add(
        "--energy",
        nargs="?",
        const="smollm2",
        metavar="MODEL",
        help="also measure the energy of a layer of this model at gate level (smollm2); needs OpenSTA and "
        "Icarus",
    )
    command.add_quick(found)
    add("--out", type=command.folder, metavar="DIR", help="write JSON, Markdown and pictures here")
    return found


def _asic_name(text: str) -> str:
    name = command.target_name(text)
    if isinstance(targets.parse(name), targets.Fpga):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be generic or Liberty files: FPGA areas do not add up"
        )
    return name


def _compare(arguments: argparse.Namespace) -> None:
    names = arguments.target or ["generic"]
    command.require(names, arguments.period, arguments.out, *_energy_needs(arguments.energy))
    presets = [] if arguments.config else [arguments.preset]
    ((_, config),) = command.configurations(presets, arguments.config).items()
    first = Design(arguments.block, config, arguments.block)
    ours = [
        first,
        *(Design(name, config, name) for name in dict.fromkeys(arguments.also) if name != first.block),
        *variants(first, "lanes", arguments.lanes),
        *variants(first, "activation_bits", arguments.activation_bits),
    ]
    units = arguments.baseline or sorted(command.baselines(), key=lambda name: name != _YARDSTICK)
    baselines = [Design(name, config, name) for name in units]
    workload = _workload(arguments.energy) if arguments.energy else None
    console = Console()
    results = []
    clocks = dict.fromkeys(arguments.period or [None])
    for target, clock in itertools.product(names, clocks):
        with console.status("") as status:
            result = compare(
                ours,
                baselines,
                target,
                clock.on(target) if clock else None,
                datatype=arguments.datatype,
                recipes=command.ways(target, arguments.quick, flatten=False),
                macros=arguments.memories,
                workload=workload,
                progress=status.update,
            )
        results.append(result)
        console.print(_table(result, console.width))
        console.print(f"[bold]{result.verdict()}")
    for title, heads, rows in overview.tables(results):
        console.print(_grid(title, heads, rows))
    if arguments.out:
        errors = dot_errors.measure([(one.block, one.label, one.config) for one in [*ours, *baselines]])
        command.publish(arguments.out, lambda folder: write(results, errors, folder))
        console.print(f"written to {arguments.out}: comparison.json, comparison.md, areas and pictures")


def _energy_needs(model: str | None) -> list[optional.Need]:
    """What energy at a clock needs, of this model; nothing where it is not asked for."""
    packaged = [part for name, part in optional.MODELS.items() if name == model]
    return [("--energy", part, model) for part in (optional.OPENSTA, optional.ICARUS, *packaged)]


def _table(result: Comparison, width: int) -> Table:
    """The comparison for a terminal; a narrow one does without some columns."""
    narrow = _NARROW_MEMORIES if result.macros else _NARROW
    heads = result.heads if width >= _WIDE else narrow
    shown = [place for place, head in enumerate(heads) if head]
    rows = [[row[place] for place in shown] for row in result.rows()]
    return _grid(
        f"on {result.title}", [heads[place] for place in shown], rows, 2, render.made_with(result.tools)
    )


def _grid(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, caption: str | None = None
) -> Table:
    """A table for a terminal; the first columns are set to the left."""
    table = Table(
        header_style="bold",
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE,
    )
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _workload(model: str) -> Callable[[Design, str], energy.Workload]:
    """Workloads on a layer of a model, which is loaded now, so that a wrong name is told at once."""
    workloads = importlib.import_module("sim.workloads")
    layer = workloads.layer(model)
    return lambda design, datatype: workloads.trace(design.block, design.config, layer, datatype)


def write(results: Sequence[Comparison], errors: dict[tuple[str, str], float], folder: Path) -> None:
    """Write comparison.json, comparison.md, areas-STEM.json for the performance model, and pictures.

    STEM is the library, with the clock where it was measured at several.
    """
    (folder / "comparison.json").write_text(command.as_json([result.to_dict() for result in results]))
    drawn = []
    for result, stem in zip(results, overview.stems(results), strict=True):
        drawn.append(pictures.draw(result, errors, folder, stem))
        (folder / f"areas-{stem}.json").write_text(command.as_json(result.areas()))
    lines = overview.markdown(results, pictures.draw_clocks(results, folder))
    (folder / "comparison.md").write_text(lines + markdown(results, drawn))


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command.run(parser(), _compare, argv)


if __name__ == "__main__":
    raise SystemExit(main())
