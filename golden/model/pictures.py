"""Pictures of evaluations: what a setting loses over its bits, one point each, with its name beside it."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes  # an optional dependency
from matplotlib.figure import Figure
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.textpath import TextPath
from matplotlib.ticker import SymmetricalLogLocator

from golden.model.evaluation import Result

__all__ = ["draw"]

_AXES = {
    "weights": ("bits_per_weight", "bits of a weight, its share of scales, zeros and selectors included"),
    "kv": ("kv_bits", "bits of an element of the cache, its share of all that describes it included"),
}
_FAMILY = re.compile(r"[a-z]+?(?=\d|_|$)")
_SAID = {
    "atom": "Atom",
    "bitmod": "BitMoD",
    "e": "minifloat",
    "evict": "evicting otherwise",
    "h": "evicting otherwise",
    "kivi": "KIVI",
    "kvcrush": "KVCrush",
    "kvtuner": "KVTuner's rule",
    ".toml": "KVTuner, bits by layer",
    "mikv": "MiKV",
    "native": "native, the circuits' rule",
    "q": "GGUF",
    "snapkv": "evicting otherwise",
    "vidkv": "VidKV",
    "zipcache": "ZipVL, ZipCache",
    "zipvl": "ZipVL, ZipCache",
}
"""Families that are not called as their names begin."""
_CHANCE = "_random"
"""At the end of names of schemes that choose tokens at random."""
_SMALL = 7
_REACH = float(np.log(30))
"""What loses more, in nats a token, is drawn at the upper edge."""
_LINEAR = 0.01
"""Nats up to which the axis of caches is linear; beyond it is logarithmic, since caches lose 0.001 to 3."""


def draw(results: Sequence[Result], base: Result, name: str, title: str, path: Path) -> None:
    """Draw dNLL with its paired error, and perplexity beside it, over the bits of the weights or the cache.

    Families have a colour and a marker, those who choose tokens at random a hollow one.

    Args:
        results: of one model and text; those without such bits are left out. If all are, nothing is drawn.
        base: everything as stored.
        name: "weights" or "kv".
        title: of the model and text.
        path: of the picture; its suffix says the format.
    """
    field, label = _AXES[name]
    points = [_Point.of(result, base, name) for result in results if getattr(result, field) is not None]
    if not points:
        return
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="grey", linewidth=1, linestyle="dashed", label="as stored")
    families: dict[str, list[_Point]] = {}
    for point in points:
        families.setdefault(point.family, []).append(point)
    for number, (family, own) in enumerate(families.items()):
        for chance in (False, True):
            _points(axes, number, family, [point for point in own if point.chance == chance])
    axes.set(xlabel=label, ylabel="dNLL, nats a token")
    if name == "kv":
        axes.set_yscale("symlog", linthresh=_LINEAR)
        transform = SymmetricalLogTransform(10, _LINEAR, 1)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(transform, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(title, fontsize=_SMALL + 2)
    axes.margins(x=0.12, y=0.08)
    axes.grid(which="both", color="0.93")
    axes.set_axisbelow(True)
    _perplexity(axes, base.perplexity)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, fontsize=_SMALL, ncols=6, loc="outside lower center")
    _label(figure, axes, points)
    figure.savefig(path, dpi=150)


class _Point(NamedTuple):
    """A setting in the picture: its height is what it loses in nats, and so is the error."""

    family: str
    name: str
    chance: bool
    bits: float
    height: float
    error: float

    @classmethod
    def of(cls, result: Result, base: Result, name: str) -> "_Point":
        """Name it; activations of full precision go without saying."""
        said, activations = getattr(result.setting, name), result.setting.activations
        found = _FAMILY.match(said)
        beginning = ".toml" if said.endswith(".toml") else found[0] if found else said
        family, chance = _SAID.get(beginning, beginning), said.endswith(_CHANCE)
        full = said if activations == "fp32" else f"{said} A{activations.removeprefix('fp')}"
        bits, lost = getattr(result, _AXES[name][0]), result.against(base)
        if lost.mean > _REACH:
            return cls(family, f"{full} ({result.perplexity:,.0f})", chance, bits, _REACH, 0.0)
        return cls(family, full, chance, bits, lost.mean, float(np.nan_to_num(lost.error)))


def _points(axes: Axes, number: int, family: str, own: Sequence[_Point]) -> None:
    """Those of a family, all of them drawn at random or none."""
    if not own:
        return
    axes.errorbar(
        [point.bits for point in own],
        [point.height for point in own],
        [point.error for point in own],
        fmt="os^Dv"[number % 5],
        color=f"C{number % 10}",
        markersize=4,
        markerfacecolor="none" if own[0].chance else None,
        elinewidth=0.6,
        label=f"{family}, at random" if own[0].chance else family,
    )


def _perplexity(axes: Axes, stored: float) -> None:
    """The right-hand axis: the ticks of the left one, told as perplexities."""
    ticks = axes.get_yticks()
    places = (axes.transData + axes.transAxes.inverted()).transform([(0, tick) for tick in ticks])[:, 1]
    shown = [
        (place, f"{stored * np.exp(tick):.4g}")
        for place, tick in zip(places, ticks, strict=True)
        if 0 <= place <= 1
    ]
    other = axes.twinx()
    other.set(ylabel="perplexity", ylim=(0, 1))
    other.set_yticks(*zip(*shown, strict=True))


def _label(figure: Figure, axes: Axes, points: Sequence[_Point]) -> None:
    """Write every point's name where it covers no other name and no point."""
    figure.draw_without_rendering()  # fixes the scales
    unit = figure.dpi / 72
    data = np.array([(point.bits, point.height) for point in points]).reshape(-1, 2)
    places = axes.transData.transform(data) / unit
    low, high = (corner / unit for corner in axes.bbox.get_points())
    height = 1.2 * _SMALL
    taken = [np.array([place - 2.5, place + 2.5]) for place in places]
    order: list[int] = np.lexsort(places.T).tolist()
    for number in order:
        extent = np.array(
            [TextPath((0, 0), points[number].name, size=_SMALL).get_extents().width + 2, height]
        )
        boxes = ((side, gap, _box(places[number] + gap, side * extent)) for side, gap in _gaps())
        inside = (
            (side, gap, box) for side, gap, box in boxes if (box[0] > low).all() and (box[1] < high).all()
        )
        side, gap, box = next((one for one in inside if _free(one[2], taken)), (1, _gaps()[0][1], None))
        taken += [] if box is None else [box]
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            points[number].name,
            tuple(data[number]),
            xytext=tuple(gap),
            textcoords="offset points",
            fontsize=_SMALL,
            verticalalignment="center",
            horizontalalignment="left" if side > 0 else "right",
            arrowprops=line | {"relpos": (0 if side > 0 else 1, 0.5)} if np.hypot(*gap) > height else None,
        )


@cache
def _gaps() -> list[tuple[int, np.ndarray]]:
    """Where a name may be: right (1) or left (-1) of its point, and how far, in points of a printer."""
    across = (5, 15, 30, 50, 75)
    found = [
        (side, np.array([side * x, 2.0 * y])) for side in (1, -1) for x in across for y in range(-40, 41)
    ]
    return sorted(found, key=lambda one: np.hypot(*one[1]) - one[0])


def _box(end: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Lower left and upper right corner of a name whose end is nearest to its point."""
    half = np.array([0, np.abs(extent[1]) / 2])
    corners = np.array([end - half, end + half + np.array([extent[0], 0])])
    return np.sort(corners, 0)


def _free(box: np.ndarray, taken: Sequence[np.ndarray]) -> bool:
    return not any((box[0] < other[1]).all() and (other[0] < box[1]).all() for other in taken)
