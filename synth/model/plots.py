"""Pictures of the model's results: roofline, tokens/s by context and by area, speedups."""

from math import log10
from pathlib import Path
from typing import Any

__all__ = ["draw"]

_OTHERS = {"FP16": "#8a8a8a", "ANT": "#b08d57", "OliVe": "#7d9a4f", "BitMoD": "#c0504d"}
_OURS = (
    "#08306b",
    "#08519c",
    "#2171b5",
    "#4292c6",
    "#6baed6",
    "#3aa6a0",
    "#1b7f79",
    "#9e9ac8",
    "#54278f",
    "#00441b",
    "#c994c7",
    "#66a61e",
)
_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
_LINE = 0.042
"""Height of a line of text beside the picture."""
_REGIONS = ("#4292c6", "#8a8a8a", "#c0504d")
_ROOM = 0.5
"""Decades of a region that has its name above it."""
_ASIDE = 0.1
"""Arrays whose areas differ by less, in decades, have their names in one column."""
_TOGETHER = 0.01
"""Rates that differ by less, in decades, are one point."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write roofline.png, contexts.png, areas.png and speedups.png."""
    _roofline(found, folder / "roofline.png")
    _contexts(found, folder / "contexts.png")
    _areas(found, folder / "areas.png")
    _speedups(found, folder / "speedups.png")


def _axes(title: str, subtitle: str, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.set_title(subtitle, loc="left", fontsize=9.5, color="#555555")
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, colors="#555555")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})


def _styles(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Colour and line of every design by label.

    kvloom's formats have a colour each, solid in equal area, in dots and dashes for tiles of ``edge``.
    """
    ours = [row["label"] for row in found["designs"] if row["name"] == "kvloom"]
    formats = list(dict.fromkeys(_format(label) for label in ours))
    styles = {}
    for row in found["designs"]:
        label = row["label"]
        if row["name"] == "kvloom":
            colour = _OURS[formats.index(_format(label)) % len(_OURS)]
            styles[label] = (colour, "-" if label.startswith("kvloom") else "-.")
        else:
            styles[label] = (_OTHERS[row["name"]], ":" if "W4 KV8" in label else "--")
    return styles


def _format(label: str) -> str:
    """Weights and cache of a label of kvloom's."""
    return label.split(" ", label.startswith("kvloom") or 2)[-1]


def _shared(found: dict[str, Any]) -> str:
    """Type of weights that all designs of kvloom have, or nothing."""
    types = {_format(row["label"]).split()[0] for row in found["designs"] if row["name"] == "kvloom"}
    return types.pop() if len(types) == 1 else ""


def _same(rows: list[dict[str, Any]], value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Rows with equal values under one label, which names two of them at most."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(value(row), []).append(row)
    return [(_joined([row["label"] for row in group]), group[0]) for group in groups.values()]


def _joined(labels: list[str]) -> str:
    return " and ".join(labels) if len(labels) < 3 else f"{labels[0]} and {len(labels) - 1} more"


def _subtitle(found: dict[str, Any]) -> str:
    question = found["question"]
    return (
        f"{question['model']}, batch {question['batch']}, {question['bandwidth']:g} GB/s, "
        f"{question['clock']:g} GHz"
    )


def _line_name(label: str, line: str, shared: str) -> str:
    """A label without the type that the subtitle has; the dotted one of two of a colour says so."""
    name = label.replace(f"{shared} ", "") if shared else label
    return f"{name} (dots)" if line == ":" else name


def _contexts(found: dict[str, Any], path: Path) -> None:
    shared = _shared(found)
    weights = f" with weights in {shared}" if shared else ""
    kinds = f"; kvloom{weights}, solid in equal area, dots and dashes as tiles of edge"
    figure, axes = _axes("Tokens per second by context", _subtitle(found) + kinds, (9.6, 5.4))
    styles, ends = _styles(found), []
    rows = _same(found["designs"], lambda row: tuple(round(rate, 3) for rate in row["contexts"].values()))
    for label, row in rows:
        contexts = [int(context) for context in row["contexts"]]
        rates = list(row["contexts"].values())
        colour, line = styles[row["label"]]
        axes.plot(contexts, rates, line, color=colour, linewidth=1.8, marker="o", markersize=3)
        ends.append((rates[-1], _line_name(label, line, shared), colour))
    axes.set_xscale("log", base=2)
    ticks = [int(context) for context in found["designs"][0]["contexts"]]
    axes.set_xticks(ticks, [f"{tick // 1024}K" if tick >= 1024 else str(tick) for tick in ticks])
    _rates(axes)
    axes.minorticks_off()
    axes.set_xlim(ticks[0] * 0.9, ticks[-1] * 1.1)
    axes.set_xlabel("tokens in the cache", fontsize=9, color="#333333")
    _labels(axes, ends)
    _save(figure, path)


def _rates(axes: Any) -> None:
    """Tokens/s on the vertical axis, in decades and their halves."""
    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    levels = [level for level in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if lowest <= level <= highest]
    axes.set_yticks(levels, [f"{level:g}" for level in levels])
    axes.set_ylabel("tokens/s", fontsize=9, color="#333333")


def _areas(found: dict[str, Any], path: Path) -> None:
    """Tokens/s over the area of the array: its multiplications a cycle times what one of them takes."""
    shared, styles, question = _shared(found), _styles(found), found["question"]
    weights = f"; kvloom with weights in {shared}" if shared else ""
    subtitle = f"{_subtitle(found)}, {question['context']:,} tokens in the cache{weights}"
    figure, axes = _axes("Tokens per second by area of the array", subtitle, (9.6, 5.4))
    units = (unit for unit in found["areas"]["units"] if unit["area_per_mac"] is not None)
    per_mac = {unit["name"]: unit["area_per_mac"] / 1e6 for unit in units}
    ends: dict[float, list[tuple[float, str, str]]] = {}
    rows = _same(
        [row for row in found["designs"] if row["name"] in per_mac],
        lambda row: (row["macs_per_cycle"], round(log10(row["decode"]["tokens_per_second"]) / _TOGETHER)),
    )
    for label, row in rows:
        rate, area = row["decode"]["tokens_per_second"], row["macs_per_cycle"] * per_mac[row["name"]]
        colour = styles[row["label"]][0]
        axes.plot(area, rate, "o", color=colour, markeredgecolor="white", markersize=8)
        column = next((other for other in ends if abs(log10(other / area)) < _ASIDE), area)
        ends.setdefault(column, []).append((rate, _line_name(label, "", shared), colour))
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 2, max(ends) * 8)
    axes.set_ylim(axes.get_ylim()[0] * 0.8, axes.get_ylim()[1] * 1.6)
    _rates(axes)
    axes.minorticks_off()
    axes.set_xlabel(f"mm2 in {found['areas']['target']}, without memories", fontsize=9, color="#333333")
    low, high = (log10(limit) for limit in axes.get_xlim())
    for area, names in ends.items():
        _labels(axes, names, (log10(area) - low) / (high - low) + 0.015)
    _save(figure, path)


def _labels(axes: Any, ends: list[tuple[float, str, str]], side: float = 1.015) -> None:
    """Names at ``side`` of the axes' width, at their heights or moved apart where they would touch."""
    low, high = (log10(limit) for limit in axes.get_ylim())
    ends = sorted(ends)
    places = [(log10(rate) - low) / (high - low) for rate, *_ in ends]
    for _ in range(200):
        for number in range(len(places) - 1):
            lacking = _LINE - (places[number + 1] - places[number])
            if lacking > 0:
                places[number] -= lacking / 2
                places[number + 1] += lacking / 2
    for place, (_, label, colour) in zip(places, ends, strict=True):
        axes.text(side, place, label, color=colour, fontsize=8.5, va="center", transform=axes.transAxes)


def _speedups(found: dict[str, Any], path: Path) -> None:
    rows = found["designs"][::-1]
    question = found["question"]
    figure, axes = _axes(
        f"Speedup over the FP16 array, decoding with {question['context']:,} tokens in the cache",
        _subtitle(found),
        (9.6, 1.4 + 0.36 * len(rows)),
    )
    slow = found["designs"][0]["decode"]["tokens_per_second"]
    styles = _styles(found)
    for place, row in enumerate(rows):
        ratio = row["decode"]["tokens_per_second"] / slow
        axes.barh(place, ratio, height=0.66, color=styles[row["label"]][0], linewidth=0)
        axes.annotate(
            f"{ratio:.2f}x  {row['decode']['tokens_per_second']:.2f} tokens/s",
            (ratio, place), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8.5, color="#333333", bbox=_WHITE,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.16)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _save(figure, path)


def _roofline(found: dict[str, Any], path: Path) -> None:
    figure, axes = _axes("Roofline", f"{_subtitle(found)}; filled: decoding, hollow: prompt", (9.6, 5.4))
    question, styles = found["question"], _styles(found)
    shown = [row for row in found["designs"] if row["name"] != "kvloom"]
    ours = [row for row in found["designs"] if row["name"] == "kvloom"]
    shown += [ours[0], ours[-1]] if len(ours) > 1 else ours
    points = [row[task] for row in shown for task in ("decode", "prefill")]
    least = min(point["macs_per_byte"] for point in points) / 2
    most = max(point["macs_per_byte"] for point in points) * 2
    bandwidth, clock = question["bandwidth"] * 1e9, question["clock"] * 1e9
    peaks = dict.fromkeys(row["macs_per_cycle"] for row in shown)
    for peak in peaks:
        knee = peak * clock / bandwidth
        names = dict.fromkeys(row["name"] for row in shown if row["macs_per_cycle"] == peak)
        ends = [max(min(knee, most), least), most]
        axes.plot(ends, [peak * clock] * 2, color="#bbbbbb", linewidth=1)
        axes.text(
            most, peak * clock, f" {', '.join(names)}: {peak:,.0f} MAC/cycle",
            fontsize=8, va="center", color="#555555",
        )  # fmt: skip
    highest = max(peaks) * clock
    end = min(highest / bandwidth, most)
    axes.plot([least, end], [least * bandwidth, end * bandwidth], color="#bbbbbb", linewidth=1)
    _regions(axes, (least, most), [peak * clock / bandwidth for peak in peaks])
    for number, ((label, row), marker) in enumerate(
        zip(
            _same(
                shown,
                lambda row: tuple(round(row[task]["macs_per_second"], -6) for task in ("decode", "prefill")),
            ),
            _MARKERS,
            strict=False,
        )
    ):
        colour = styles[row["label"]][0]
        for task, face in (("decode", colour), ("prefill", "white")):
            axes.plot(
                row[task]["macs_per_byte"],
                row[task]["macs_per_second"],
                marker,
                color=colour,
                markerfacecolor=face,
                markeredgecolor="white" if task == "decode" else colour,
                markersize=13 - number,
                zorder=3 + number,
                linestyle="none",
                label=label if task == "decode" else None,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(least, most)
    axes.set_xlabel("multiplications for one byte of memory", fontsize=9, color="#333333")
    axes.set_ylabel("multiplications a second", fontsize=9, color="#333333")
    axes.legend(loc="lower right", fontsize=8.5, framealpha=1, edgecolor="white")
    _save(figure, path)


def _regions(axes: Any, ends: tuple[float, float], knees: list[float]) -> None:
    """Where memory bounds every design, where the multipliers of some do, and where those of all do."""
    least, most = ends
    borders = [least, *(min(max(knee, least), most) for knee in (min(knees), max(knees))), most]
    texts = ("memory bounds all", "memory or multipliers", "multipliers bound all")
    for left, right, text, colour in zip(borders, borders[1:], texts, _REGIONS, strict=False):
        axes.axvspan(left, right, color=colour, alpha=0.08, linewidth=0)
        if log10(right / left) > _ROOM:
            place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
            axes.text((left * right) ** 0.5, 0.985, text, fontsize=8.5, color="#777777", **place)
