"""Measure one design: area by component, memories, timing."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth import asic, hierarchy, liberty, targets, timing, yosys
from synth.area import AreaReport, Component, best, cell_counts, tabulate

__all__ = ["AreaReport", "Component", "measure"]

Progress = Callable[[str], None]


def measure(
    design: Any,
    top: str,
    target: str = "generic",
    period: float | None = None,
    *,
    recipes: tuple[asic.Recipe, ...] | None = None,
    keep: Path | None = None,
    progress: Progress = lambda _: None,
) -> AreaReport:
    """Synthesize a design and report what it costs.

    Args:
        design: an Amaranth component, or Verilog text.
        top: name of the top module.
        target: a word :func:`synth.targets.parse` understands.
        period: clock period in ns; None for the target's own.
        recipes: ways to try on standard cells; the smallest result that meets the period wins, or the fastest
            if none does. None tries all of :func:`synth.asic.recipes`, and
            :func:`synth.asic.rescue_recipes` where none of them meets the period.
        keep: an existing directory for scripts, logs and netlists; None throws them away.
        progress: called with a few words before each step.

    Raises:
        synth.targets.TargetError: bad target.
        synth.yosys.YosysError: synthesis failed.
    """
    goal = targets.parse(target)
    if not isinstance(design, str):
        from hw.verilog import convert

        progress(f"{top}: Verilog")
        design = convert(design, top)
    if isinstance(goal, targets.Fpga):
        with _folder(keep, goal.name) as folder:
            progress(f"{top}: {goal.name}")
            return _fpga_report(goal, design, top, folder)
    period = period or goal.period
    shapes: dict[bool, _Shape] = {}
    with ExitStack() as stack:

        def tried(recipe: asic.Recipe) -> AreaReport:
            if recipe.flatten not in shapes:
                progress(f"{top}: {goal.name}, {recipe.shape}")
                folder = stack.enter_context(_folder(keep, recipe.shape))
                shapes[recipe.flatten] = _Shape(goal, design, top, recipe.flatten, folder)
            progress(f"{top}: {goal.name}, {recipe}")
            return shapes[recipe.flatten].map(recipe, period)

        if recipes is not None:
            return best([tried(recipe) for recipe in recipes])
        apart = len(re.findall(r"^module ", design, re.M)) > 1
        reports = _climb(asic.recipes(goal, apart), tried, until=2)
        if not any(report.met for report in reports):
            reports += _climb(asic.rescue_recipes(goal, apart), tried, until=9)
    return best(reports)


def _climb(
    recipes: Sequence[asic.Recipe], tried: Callable[[asic.Recipe], AreaReport], until: int
) -> list[AreaReport]:
    """Try recipes from small to fast, the two shapes at once, each until so many in a row meet the period."""

    def climb(flatten: bool) -> list[AreaReport]:
        reports: list[AreaReport] = []
        in_a_row = 0
        for recipe in recipes:
            if recipe.flatten == flatten and in_a_row < until:
                reports.append(tried(recipe))
                in_a_row = in_a_row + 1 if reports[-1].met else 0
        return reports

    with ThreadPoolExecutor(max_workers=2) as pool:
        return [report for reports in pool.map(climb, (False, True)) for report in reports]


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


def read(verilog: str, top: str, folder: Path) -> tuple[hierarchy.Design, dict[str, Any]]:
    """Read a design into ``folder`` as read.il and find its equal modules.

    Raises:
        synth.yosys.YosysError: bad Verilog or no such top.
    """
    script = f"read_verilog -sv design.v\nhierarchy -check -top {top}\nchformal -remove\nproc\nopt_clean\n"
    yosys.run(script + "write_rtlil read.il\nwrite_json read.json\n", folder, {"design.v": verilog}, "read")
    modules = _modules(folder / "read.json")
    return hierarchy.merge_identical(modules, top), modules


class _Shape:
    """A design down to gates, hierarchical or flat: what all mappers start from."""

    def __init__(self, target: targets.Asic, verilog: str, top: str, flatten: bool, folder: Path):
        design, _ = read(verilog, top, folder)
        adder = liberty.full_adder(target.cells.values())
        files = {
            "constraints.txt": asic.constraints(target),
            "full_adder_cell.v": asic.full_adder_map(adder) if adder else "",
            **dict(target.texts),
        }
        yosys.run(asic.coarse_script(top, flatten, design.merge_commands()), folder, files, "coarse")
        modules = _modules(folder / "coarse.json")
        whole = asic.large_memories(modules)
        yosys.run(asic.gates_script(whole, adder is not None), folder, None, "gates")
        self.target, self.top, self.folder, self.adder = target, top, folder, adder
        self.modules = _modules(folder / "gates.json")
        self.design = hierarchy.Design(top, {top: [top]}) if flatten else design
        self.clock = "clk" if "clk" in modules[top]["ports"] else ""
        self.memory_bits: Counter[str] = Counter()
        for (module, _), bits in whole.items():
            self.memory_bits[module] += bits

    def adders(self) -> set[str]:
        """Every full adder, as ``module/cell``."""
        return {
            f"{module}/{name}"
            for module, body in self.modules.items()
            for name, cell in body["cells"].items()
            if cell["type"] == "$fa"
        }

    def adder_at(self, path: str) -> str:
        """The full adder (``module/cell``) at an instance path of the flat netlist."""
        *instances, name = path.split(".")
        module = self.top
        for instance in instances:
            module = self.modules[module]["cells"][instance]["type"]
        return f"{module}/{name}"

    def map(self, recipe: asic.Recipe, period: float) -> AreaReport:
        """Map to cells; full adders of too slow paths are taken apart if the recipe says so."""
        stem = f"{recipe.mapper}-{recipe.adders}".replace(" ", "-")
        name = stem
        apart = self.adders() if recipe.adders == "gates" else set(asic.wasted_adders(self.modules))
        rounds = asic.RESCUE_ROUNDS if recipe.adders == "off slow paths" else 0
        report = self._map_once(recipe, period, name, apart)
        for number in range(rounds):
            if report.met or report.timing is None or report.timing.source != "OpenSTA":
                break
            netlist = self._netlist(period, name)
            slow = {self.adder_at(path) for path in timing.slow_cells(netlist, r"(\S*full_adder_\d+)\.fa/")}
            if not slow - apart:
                break
            apart |= slow
            name = f"{stem}-{number + 1}"
            report = min(report, self._map_once(recipe, period, name, apart), key=_shortfall)
        return report

    def _netlist(self, period: float, name: str) -> timing.Netlist:
        cut = bool(self.memory_bits)
        return timing.Netlist(self.target, self.top, period, self.clock, self.folder, name, cut)

    def _map_once(self, recipe: asic.Recipe, period: float, name: str, apart: set[str]) -> AreaReport:
        target, top = self.target, self.top
        files = {
            f"{name}.abc": asic.abc_script(target, recipe.mapper, period),
            f"{name}.apart": "".join(f"{cell}\n" for cell in sorted(apart)),
        }
        script = asic.mapping_script(target, top, period, name, bool(apart))
        log = yosys.run(script, self.folder, files, name)
        counts = cell_counts(self.folder / f"{name}.json")
        known = {"$mem_v2", *self.design.aliases, *target.cells}
        if foreign := {cell for cells in counts.values() for cell in cells} - known:
            raise yosys.YosysError(f"{target.name} has no cell for {', '.join(sorted(foreign))}")
        parts = tabulate(
            self.design,
            counts,
            self.memory_bits,
            area=lambda cell: target.cells[cell].area if cell in target.cells else 0.0,
            purpose=_purpose(target),
        )
        return AreaReport(
            top=top,
            target=target.name,
            unit=target.unit,
            period=period,
            recipe=str(recipe if self.adder else replace(recipe, adders="gates")),
            area=round(sum(part.own_area for part in parts), 4),
            memory_bits=sum(part.memory_bits for part in parts),
            flip_flops=sum(part.flip_flops for part in parts),
            cells=sum(part.cells for part in parts),
            timing=timing.static_timing(self._netlist(period, name), log),
            components=tuple(parts),
            counts=dict(sum((Counter(part.counts) for part in parts), Counter())),
        )


def _shortfall(report: AreaReport) -> float:
    """By how many ns a report misses its period; 0 where it does not."""
    return max(0.0, -report.timing.slack) if report.timing else 0.0


def _modules(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["modules"]


def _purpose(target: targets.Asic) -> Callable[[str], str]:
    """What a cell's area is spent on, by cell name."""
    adder = liberty.full_adder(target.cells.values())
    special = {name: "registers" for name, cell in target.cells.items() if cell.sequential}
    if adder:
        special[adder.cell] = "full adders"
    return lambda name: special.get(name, "logic")


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
    )
