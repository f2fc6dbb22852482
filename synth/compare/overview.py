"""All comparisons of a run side by side: the same designs over clocks and libraries."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from synth import render
from synth.compare.results import Comparison, Measured
from synth.render import number

__all__ = ["markdown", "stems", "tables"]

_MISSED = "a star marks a clock that is missed"

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, heads and rows."""


def stems(comparisons: Sequence[Comparison]) -> list[str]:
    """A name for the files of each comparison: its library, with the clock where the library has several."""
    often = Counter(one.target for one in comparisons)
    names = (f"{one.target}-{one.period:g}ns" if often[one.target] > 1 else one.target for one in comparisons)
    return [name.replace("/", "-") for name in names]


def tables(comparisons: Sequence[Comparison]) -> Iterator[Table]:
    """Areas and, where known, those with memories and energies of all designs; nothing for one comparison."""
    if len(comparisons) < 2:
        return
    unit = " or ".join(dict.fromkeys(one.ours[0].result.report.unit for one in comparisons))
    what = f"{comparisons[0].datatype}, with the ratio to {comparisons[0].ours[0].label}"
    yield _table(f"{unit} per MAC/cycle, {what}; {_MISSED}", comparisons, _area)
    if macros := comparisons[0].macros:
        title = f"{unit} per MAC/cycle with memories ({macros.name}), {what}; {_MISSED}"
        yield _table(title, comparisons, partial(_area, memories=True))
    if any(design.energy for one in comparisons for design in one.designs):
        yield _table(f"pJ per MAC, {what}", comparisons, _energy)


def markdown(comparisons: Sequence[Comparison], pictures: Sequence[str]) -> str:
    """The tables as Markdown, with pictures; empty for a single comparison."""
    lines: list[str] = []
    for title, heads, rows in tables(comparisons):
        lines += [f"# {title}", "", *render.table(heads, rows), ""]
    lines += [line for name in pictures for line in (f"![{name}]({name})", "")]
    return "".join(f"{line}\n" for line in lines)


def _table(
    title: str, comparisons: Sequence[Comparison], cell: Callable[[Comparison, Measured], str]
) -> Table:
    heads = ("design", *(one.title for one in comparisons))
    columns = [[cell(one, design) for design in one.designs] for one in comparisons]
    labels = [design.label for design in comparisons[0].designs]
    return title, heads, list(zip(labels, *columns, strict=True))


def _area(comparison: Comparison, one: Measured, memories: bool = False) -> str:
    missed = "" if one.result.report.met else "*"
    shown = number(one.area_per_mac(comparison.datatype, memories))
    return f"{shown}{missed}{_ratio(comparison, one, comparison.ratio(one, memories))}"


def _energy(comparison: Comparison, one: Measured) -> str:
    if one.energy is None:
        return one.note
    return f"{one.energy.per_mac:.3f}{_ratio(comparison, one, comparison.energy_ratio(one))}"


def _ratio(comparison: Comparison, one: Measured, ratio: float | None) -> str:
    return "" if one is comparison.ours[0] or ratio is None else f" ({ratio:.2f})"
