"""Show area reports: tables for the terminal, Markdown, plain data for JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from synth.area import AreaReport
from synth.memories import Macros, Memory

__all__ = [
    "Result",
    "areas_only",
    "cost_rows",
    "made_with",
    "markdown",
    "number",
    "print_result",
    "table",
    "to_dict",
]

_COLUMNS = ("component", "count", "own area", "total area", "share", "memory bits", "cells", "flops")

_WIDE = 90
"""Terminals narrower than this do without the number of cells."""

_NOTES = (
    "Own area leaves out the components inside a component; total area has them. Both add up all instances.",
    "Memory bits are memories left whole, without delay, and in no area but that with memories.",
)


class Result:
    """One measured block: its report and its throughput, multiplications a cycle by data type.

    Args:
        report: the area.
        macs: multiplications a cycle by data type.
        preset: name of the configuration.
        macros: what the memories left whole cost; None where that is not known.
    """

    def __init__(
        self,
        report: AreaReport,
        macs: Mapping[str, float] | None = None,
        preset: str = "",
        macros: Macros | None = None,
    ):
        self.report = report
        self.macs = dict(macs or {})
        self.preset = preset
        self.macros = macros

    @property
    def memory_area(self) -> float | None:
        """Area of the memories left whole; None where it is not known."""
        return self.macros.area(self.report.memories) if self.macros else None

    @property
    def whole_area(self) -> float | None:
        """Area of cells and memories; None where that of the memories is not known."""
        return None if self.memory_area is None else self.report.area + self.memory_area

    @property
    def title(self) -> str:
        """Block, configuration and target in one phrase."""
        source = f" ({self.preset})" if self.preset else ""
        return f"{self.report.top}{source} on {self.report.target}"


def number(value: float) -> str:
    """Digits grouped in threes; two decimals below 1000."""
    if value == int(value) and value < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def component_rows(report: AreaReport) -> list[tuple[str, ...]]:
    """The cells of the component table, as text."""
    whole = sum(part.own_area for part in report.components) or 1.0
    return [
        (
            part.name,
            number(part.instances),
            number(part.own_area),
            number(part.total_area),
            f"{100 * part.own_area / whole:.1f} %",
            number(part.memory_bits) if part.memory_bits else "",
            number(part.cells),
            number(part.flip_flops),
        )
        for part in report.components
    ]


def areas_only(reason: str) -> str:
    """What areas are called that were measured without timing."""
    return f"areas only, no timing, sizing or strong drivers: {reason}"


def made_with(tools: Mapping[str, str]) -> str:
    """Names and versions of programs in one phrase."""
    return "made with " + ", ".join(f"{name} {version}" for name, version in tools.items())


def summary(result: Result) -> list[tuple[str, str]]:
    """Headline figures: label and text."""
    report = result.report
    lines = [("area", f"{number(report.area)} {report.unit}")]
    if report.period and report.timing:
        verdict = "met" if report.met else "NOT met"
        lines.append(("clock period", f"{report.period:g} ns asked for, {verdict}"))
        lines.append(("shortest period", f"{report.timing.min_period:.3f} ns by {report.timing.source}"))
        if report.timing.start:
            lines.append(("slowest path", f"{report.timing.start} to {report.timing.end}"))
    if report.untimed:
        lines.append(("timing", areas_only(report.untimed)))
    lines.append(("flow", report.recipe))
    if report.components_recipe and report.components_recipe != report.recipe:
        lines.append(("components from", report.components_recipe))
    for name, entry in report.tried.items():
        if len(report.tried) > 1:
            period = f", {entry['min_period']:.3f} ns" if entry["min_period"] else ""
            lines.append((f"tried: {name}", f"{number(entry['area'] or 0)} {report.unit}{period}"))
    if report.memory_bits:
        lines.append(("memory left whole", f"{number(report.memory_bits)} bits: {sizes(report.memories)}"))
    if result.macros and report.memory_bits:
        area, whole = (number(round(value or 0.0)) for value in (result.memory_area, result.whole_area))
        lines.append(("memories as macros", f"{area} {report.unit} ({result.macros.name})"))
        lines.append(("area with memories", f"{whole} {report.unit}"))
    if report.unit == "LUT":
        lines.append(
            ("resources", ", ".join(f"{number(n)} {kind}" for kind, n in sorted(report.counts.items())))
        )
    lines.append(("tools", made_with(report.tools)))
    return lines


def sizes(memories: Iterable[Memory]) -> str:
    """Sizes of memories in one phrase."""
    return ", ".join(f"{one.instances} of {one.words:,} x {one.width}" for one in memories)


def cost_heads(result: Result) -> tuple[str, ...]:
    """Titles of the columns of ``cost_rows``."""
    heads = ("data type", "multiplications a cycle", "area for each")
    return heads if result.whole_area is None else (*heads, "with memories")


def cost_rows(result: Result) -> list[tuple[str, ...]]:
    """Data types of one rate, multiplications a cycle, and area for one multiplication a cycle.

    Where the area of memories is known, also that with memories.
    """
    names: dict[float, list[str]] = {}
    for name, macs in result.macs.items():
        if macs:
            names.setdefault(macs, []).append(name)
    unit = result.report.unit
    areas = [area for area in (result.report.area, result.whole_area) if area is not None]
    return [
        (", ".join(types), f"{macs:.4g}", *(f"{number(area / macs)} {unit}" for area in areas))
        for macs, types in sorted(names.items(), reverse=True)
    ]


def print_result(console: Console, result: Result) -> None:
    """Print one report as tables."""
    report = result.report
    console.print()
    console.rule(f"[bold]{result.title}")
    facts = Table.grid(padding=(0, 2))
    for label, text in summary(result):
        facts.add_row(f"[dim]{label}", text)
    console.print(facts)
    note = f"Areas in {report.unit}. {_NOTES[1] if report.memory_bits else ''}"
    grid = Table(
        header_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0), caption=note, caption_justify="left"
    )
    rows = component_rows(report)
    narrow = console.width < _WIDE
    columns = [(place, title) for place, title in enumerate(_COLUMNS) if title != "cells" or not narrow]
    for place, title in columns:
        # A figure must never be cut short; a name may take several lines.
        widest = max((len(row[place]) for row in rows), default=0)
        first = title == "component"
        grid.add_column(
            title, justify="left" if first else "right", overflow="fold", min_width=0 if first else widest
        )
    for row in rows:
        grid.add_row(*(row[place] for place, _ in columns))
    console.print(grid)
    if result.macs:
        costs = Table(header_style="bold", title="cost of one multiplication a cycle", title_justify="left")
        for title in cost_heads(result):
            costs.add_column(title, justify="left" if title == "data type" else "right")
        for cost in cost_rows(result):
            costs.add_row(*cost)
        console.print(costs)


def markdown(results: Sequence[Result], pictures: Mapping[str, str]) -> str:
    """The whole report as Markdown; ``pictures`` maps a result's title to its picture's file name."""
    parts = ["# Area report", "", *(f"{note}  " for note in _NOTES), ""]
    for result in results:
        report = result.report
        unit = report.unit
        heads = [f"{title} ({unit})" if title.endswith("area") else title for title in _COLUMNS]
        parts += [f"## {result.title}", "", *table(("", ""), summary(result)), ""]
        parts += [*table(heads, component_rows(report)), ""]
        if result.macs:
            parts += [*table(cost_heads(result), cost_rows(result)), ""]
        if result.title in pictures:
            parts += [f"![Area of {result.title} by component]({pictures[result.title]})", ""]
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; of more than two columns all but the first are set to the right."""
    rule = ["---"] + ["---:" if len(heads) > 2 else "---"] * (len(heads) - 1)
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def to_dict(result: Result) -> dict[str, Any]:
    """Plain data of one result."""
    costs = {name: result.report.area / macs for name, macs in result.macs.items() if macs}
    return {
        "title": result.title,
        "preset": result.preset,
        **result.report.to_dict(),
        "macs_per_cycle": result.macs,
        "area_per_mac_per_cycle": costs,
        "memory_area": result.memory_area,
        "macros": result.macros.name if result.macros else "",
    }
