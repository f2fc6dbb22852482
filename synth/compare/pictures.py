"""Pictures of a comparison: area by data type, area against accuracy, energy by component."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden.numbers import datatypes
from synth.compare.results import Comparison, Measured

__all__ = ["draw", "draw_clocks"]

_COLOURS = (
    "#3b6ea5",
    "#e0a030",
    "#5aa17f",
    "#b5533c",
    "#8465a6",
    "#7d7d7d",
    "#c98bb9",
    "#4fb0c6",
    "#c9c05a",
    "#233142",
    "#9bd09b",
    "#e59a86",
)
_PARTS = 6  # components shown of an energy; the others are taken together


def draw(
    comparison: Comparison, errors: Mapping[tuple[str, str], float], folder: Path, stem: str
) -> list[str]:
    """Write the pictures of a comparison; returns their file names.

    Args:
        comparison: what to draw.
        errors: relative error of a design's dot products by its label and data type.
        folder: where they go.
        stem: what their names end with.
    """
    written = [f"area-by-type-{stem}.png"]
    _area_by_type(comparison, folder / written[0])
    if errors:
        written.append(f"area-and-error-{stem}.png")
        _area_and_error(comparison, errors, folder / written[-1])
    if any(one.energy for one in comparison.designs):
        written.append(f"energy-{stem}.png")
        _energy(comparison, folder / written[-1])
    return written


def draw_clocks(comparisons: Sequence[Comparison], folder: Path) -> list[str]:
    """Write the picture of all comparisons, bars of how many times smaller the block is at each clock.

    Args:
        comparisons: of the same designs; nothing is drawn of a single one.
        folder: where it goes.
    """
    if len(comparisons) < 2:
        return []
    count = len(comparisons[0].baselines)
    width = 0.86 / count
    figure, axes = _axes(max(6.4, 2.6 + 0.28 * count * len(comparisons)), 4.4)
    for place in range(count):
        others = [one.baselines[place] for one in comparisons]
        ratios = [one.ratio(other) for one, other in zip(comparisons, others, strict=True)]
        at = [group + (place - (count - 1) / 2) * width for group in range(len(comparisons))]
        colour = _COLOURS[(place + 1) % len(_COLOURS)]
        bars = axes.bar(at, ratios, width * 0.92, color=colour, label=others[0].label)
        for bar, one, other in zip(bars, comparisons, others, strict=True):
            if not (one.ours[0].result.report.met and other.result.report.met):
                bar.set(alpha=0.45, hatch="///")
        axes.bar_label(bars, fmt="%.1f", fontsize=6.5, padding=1.5, color="#444444")
    axes.set_xticks(range(len(comparisons)), [one.title.replace(", ", "\n") for one in comparisons])
    axes.tick_params(axis="x", length=0)
    axes.axhline(1, color="#999999", linewidth=0.8)
    axes.set_ylabel(f"area of one multiplication a cycle, {comparisons[0].ours[0].label} = 1", fontsize=9)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    figure.legend(frameon=False, fontsize=8.5, loc="outside right upper")
    _save(figure, "Area over clocks and libraries (hatched: a clock is missed)", folder / "clocks.png")
    return ["clocks.png"]


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, colors="#444444")
    return figure, axes


def _save(figure: Any, title: str, path: Path) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.savefig(path, metadata={"Software": None})


def _bits(datatype: str) -> int:
    """Width of a data type; the baselines' own types end with theirs."""
    if datatype in datatypes.names():
        return datatypes.get(datatype).bits
    return int(re.sub(r"\D*", "", datatype) or 16)


def _best_by_width(one: Measured) -> dict[int, str]:
    """The type of each width that a design multiplies fastest."""
    found: dict[int, str] = {}
    for name, rate in one.result.macs.items():
        if rate > one.result.macs.get(found.get(_bits(name), ""), 0):
            found[_bits(name)] = name
    return found


def _area_by_type(comparison: Comparison, path: Path) -> None:
    """Bars of each width of weights, only of the designs that have it."""
    best = [_best_by_width(one) for one in comparison.designs]
    widths = sorted({width for types in best for width in types})
    figure, axes = _axes(10.2, 4.8)
    left, ticks, named = 0.0, [], set()
    for width in widths:
        start = left
        for place, (one, types) in enumerate(zip(comparison.designs, best, strict=True)):
            if width in types:
                label = "_" if one.label in named else one.label
                named.add(one.label)
                height = one.area_per_mac(types[width])
                axes.bar(left, height, 0.9, color=_COLOURS[place % len(_COLOURS)], label=label)
                left += 1
        ticks.append((start + left - 1) / 2)
        left += 1
    unit = comparison.ours[0].result.report.unit
    axes.set_ylabel(f"area of one multiplication a cycle ({unit})", fontsize=9)
    axes.set_xlabel("bits of a weight (the fastest type of that width)", fontsize=9)
    axes.set_xticks(ticks, [str(width) for width in widths])
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=3)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
    _save(figure, f"Area by width of weights, {comparison.title}", path)


def _area_and_error(comparison: Comparison, errors: Mapping[tuple[str, str], float], path: Path) -> None:
    figure, axes = _axes(8.6, 5.2)
    for place, one in enumerate(comparison.designs):
        points = [
            (errors[one.label, name], one.area_per_mac(name), name)
            for name in (one.result.macs or {"": 1.0})
            if (one.label, name) in errors
        ]
        if not points:
            continue
        colour = _COLOURS[place % len(_COLOURS)]
        axes.scatter(*list(zip(*points, strict=True))[:2], s=26, color=colour, label=one.label)
        named: dict[int, tuple[float, float, str]] = {}
        for point in sorted(points):
            named.setdefault(_bits(point[2]), point)
        for number, (error, area, name) in enumerate(named.values() if place == 0 else sorted(points)[:1]):
            away = (0, 6 + 9 * (number % 2))
            axes.annotate(
                name,
                (error, area),
                xytext=away,
                textcoords="offset points",
                fontsize=7.5,
                color="#555555",
                ha="center",
            )
    unit = comparison.ours[0].result.report.unit
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    axes.set_xlabel("relative error of dot products of normal weights and activations", fontsize=9)
    axes.set_ylabel(f"area of one multiplication a cycle ({unit})", fontsize=9)
    axes.grid(which="both", color="#e8e8e8", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8.5)
    _save(figure, f"Area and accuracy, {comparison.title}", path)


def _energy(comparison: Comparison, path: Path) -> None:
    bars = [one for one in comparison.designs if one.energy]
    figure, axes = _axes(9.2, 1.6 + 0.5 * len(bars))
    colours: dict[str, str] = {}
    longest = max(one.energy.per_mac for one in bars if one.energy)
    for row, one in enumerate(bars):
        left = 0.0
        for name, energy in _shown(one) if one in comparison.ours else ():
            label = "_" if name in colours else name
            colour = colours.setdefault(name, _COLOURS[len(colours) % len(_COLOURS)])
            axes.barh(row, energy, left=left, height=0.66, color=colour, linewidth=0, label=label)
            left += energy
        whole = one.energy.per_mac if one.energy else 0.0
        if one not in comparison.ours:
            axes.barh(row, whole, height=0.66, color="#b8b8b8", linewidth=0)
        ratio = comparison.energy_ratio(one)
        text = f"{whole:.2f} pJ" + (f"  ({ratio:.2f} x)" if ratio and one is not bars[0] else "")
        axes.text(whole + 0.01 * longest, row, text, va="center", fontsize=9, color="#333333")
    axes.set_yticks(range(len(bars)), [one.label for one in bars], fontsize=9.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.2)
    axes.set_xlabel("energy of one multiplication (pJ), by component", fontsize=9)
    axes.grid(axis="x", color="#e0e0e0", linewidth=0.7)
    if colours:
        figure.legend(frameon=False, fontsize=8.5, loc="outside right upper")
    _save(figure, f"Energy of a multiplication, {comparison.title}", path)


def _shown(one: Measured) -> Sequence[tuple[str, float]]:
    """Components of a design's energy, largest first, the small ones together."""
    assert one.energy is not None
    parts = [(name if name != "itself" else one.label, value) for name, value in one.energy.parts.items()]
    shown, rest = parts[:_PARTS], parts[_PARTS:]
    return [*shown, ("others", sum(value for _, value in rest))] if rest else shown
