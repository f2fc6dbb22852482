"""Measure one design: area by component, memories, timing."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from golden import optional
from synth import asic, place, targets, yosys
from synth.area import AreaReport, Component, best, cell_counts, tabulate
from synth.shape import Shape, read

__all__ = ["AreaReport", "Component", "measure"]

Progress = Callable[[str], None]

_FPGA_PERIOD = 1000 / 150
"""Clock period in ns that an FPGA design is placed for unless the user gives one."""

_SMALL = 20_000
"""Cells up to which a design is tried without its hierarchy as well; it takes too long above."""


def measure(
    design: Any,
    top: str,
    target: str = "generic",
    period: float | None = None,
    *,
    recipes: tuple[asic.Recipe, ...] | None = None,
    keep: Path | None = None,
    placed: bool = False,
    progress: Progress = lambda _: None,
) -> AreaReport:
    """Synthesize a design and report what it costs.

    Without OpenSTA a library with timing gives areas only: the flow of a library without timing, and a report
    that says so.

    Args:
        design: an Amaranth component, or Verilog text.
        top: name of the top module.
        target: a word :func:`synth.targets.parse` understands.
        period: clock period in ns; None for the target's own.
        recipes: ways to try on standard cells; the smallest result that meets the period wins, or the fastest
            if none does. None gives each component the mapper that suits it, and tries a small design flat as
            well.
        keep: an existing directory for scripts, logs and netlists; None throws them away.
        placed: also place and route, on an FPGA.
        progress: called with a few words before each step.

    Raises:
        golden.optional.MissingPart: Yosys is missing, OpenSTA for a given period, or nextpnr to place.
        synth.place.PlaceError: place and route is impossible here.
        synth.targets.TargetError: bad target.
        synth.yosys.YosysError: synthesis failed.
    """
    goal = targets.parse(target)
    asked = period is not None and isinstance(goal, targets.Asic) and goal.untimed == targets.NO_OPENSTA
    if placed:
        place.check(goal)
    optional.require(
        ("synthesis", optional.YOSYS, True),
        ("a clock period", optional.OPENSTA, asked),
        ("place and route", optional.NEXTPNR, placed),
    )
    if not isinstance(design, str):
        from hw.verilog import convert

        progress(f"{top}: Verilog")
        design = convert(design, top)
    if isinstance(goal, targets.Fpga):
        with _folder(keep, goal.name) as folder:
            progress(f"{top}: {goal.name}")
            report = _fpga_report(goal, design, top, folder)
            if not placed:
                return report
            progress(f"{top}: {goal.name}, place and route")
            period = period or _FPGA_PERIOD
            found = place.place(design, top, goal.name, period, folder)
            tools = report.tools | optional.versions(optional.NEXTPNR)
            return replace(report, period=period, timing=found, tools=tools)
    period = period or goal.period
    shapes: dict[bool, Shape] = {}
    with ExitStack() as stack:

        def tried(recipe: asic.Recipe) -> AreaReport:
            if recipe.flatten not in shapes:
                progress(f"{top}: {goal.name}, {recipe.shape}")
                folder = stack.enter_context(_folder(keep, recipe.shape))
                shapes[recipe.flatten] = Shape(goal, design, top, recipe.flatten, folder)
            progress(f"{top}: {goal.name}, {recipe}")
            return shapes[recipe.flatten].map(recipe, period)

        if recipes is not None:
            return best([tried(recipe) for recipe in recipes])
        reports = [tried(asic.Recipe())]
        if len(reports[0].components) > 1 and reports[0].cells <= _SMALL:
            reports.append(tried(asic.Recipe(flatten=True)))
    return best(reports)


@contextmanager
def _folder(keep: Path | None, name: str) -> Iterator[Path]:
    """A working directory: a temporary one, or a fresh one called ``name`` inside ``keep``."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="synth-") as path:
            yield Path(path)
    else:
        folder = keep / name
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def _fpga_report(target: targets.Fpga, verilog: str, top: str, folder: Path) -> AreaReport:
    """Primitives of an FPGA family, by component; the area is in look-up tables."""
    design, _ = read(verilog, top, folder)
    script = (
        f"read_rtlil read.il\n{design.merge_commands()}\nhierarchy -check -top {top}\n"
        f"{target.command} -top {top}\ntee -q -o stat.json stat -json -top {top}\n"
    )
    yosys.run(script, folder, None, "mapping")

    def kind(cell: str) -> str:
        starts = (column for column, prefixes in target.resources.items() if cell.startswith(prefixes))
        return next(starts, "other")

    counts = cell_counts(folder / "stat.json")
    components = tuple(
        tabulate(
            design,
            counts,
            {},
            area=lambda cell: float(kind(cell) == "LUT"),
            purpose=lambda cell: "registers" if kind(cell) == "FF" else "logic",
        )
    )
    totals: Counter[str] = Counter()
    for part in components:
        for cell, number in part.counts.items():
            totals[kind(cell)] += number
    return AreaReport(
        top=top,
        target=target.name,
        unit=target.unit,
        period=0.0,
        recipe="hierarchical",
        area=sum(part.own_area for part in components),
        memory_bits=0,
        flip_flops=totals["FF"],
        cells=sum(part.cells for part in components),
        timing=None,
        components=components,
        counts=dict(totals),
        tools=optional.versions(optional.YOSYS),
    )
