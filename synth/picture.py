"""Picture of where a design's area goes."""

from pathlib import Path

from synth.area import AreaReport, Component

__all__ = ["draw"]

_COLOURS = {"logic": "#3b6ea5", "full adders": "#e0a030", "registers": "#5aa17f"}
_ROWS = 14


def draw(report: AreaReport, title: str, path: Path) -> None:
    """Draw one bar for each component, largest first, split by what the area is spent on; write a PNG.

    Args:
        report: what to draw.
        title: the picture's title.
        path: the PNG's path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = _bars(report)
    whole = sum(part.own_area for part in report.components) or 1.0
    longest = max(total for _, total, _ in bars) or 1.0
    figure = Figure(figsize=(9.6, 1.7 + 0.42 * len(bars)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    used = set()
    for row, (_, total, areas) in enumerate(bars):
        left = 0.0
        for purpose, colour in _COLOURS.items():
            if width := areas.get(purpose, 0.0):
                label = None if purpose in used else purpose
                axes.barh(row, width, left=left, height=0.68, color=colour, label=label, linewidth=0)
                used.add(purpose)
                left += width
        text = f"{total:,.0f} {report.unit}  {100 * total / whole:.1f} %"
        axes.text(
            total + 0.008 * longest,
            row,
            text,
            va="center",
            fontsize=9,
            color="#333333",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=9.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.24)
    axes.set_xlabel(
        f"area of all instances, without the components inside ({report.unit})", fontsize=9, color="#333333"
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", labelsize=8.5, colors="#555555")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.set_title(_subtitle(report, whole), loc="left", fontsize=9.5, color="#555555")
    if len(used) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def _bars(report: AreaReport) -> list[tuple[str, float, dict[str, float]]]:
    """Label, area and split of each bar; small components are taken together in the last one."""
    parts = [part for part in report.components if part.own_area > 0] or list(report.components)
    shown, rest = (parts, []) if len(parts) <= _ROWS else (parts[: _ROWS - 1], parts[_ROWS - 1 :])
    bars = [(_label(part), part.own_area, part.areas) for part in shown]
    if rest:
        areas = {purpose: sum(part.areas.get(purpose, 0.0) for part in rest) for purpose in _COLOURS}
        bars.append((f"{len(rest)} smaller kinds", sum(part.own_area for part in rest), areas))
    return bars


def _label(part: Component) -> str:
    return f"{part.name}  ×{part.instances}" if part.instances > 1 else part.name


def _subtitle(report: AreaReport, whole: float) -> str:
    words = [f"{whole:,.0f} {report.unit} in all"]
    if report.components_recipe:
        words.append(report.components_recipe)
    if report.period and report.timing:
        words.append(f"clock {report.period:g} ns")
    if report.untimed:
        words.append("no timing")
    if report.memory_bits:
        words.append(f"and {report.memory_bits:,} bits of memory left whole")
    return ", ".join(words)
