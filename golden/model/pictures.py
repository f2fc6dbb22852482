"""Pictures of evaluations: perplexity over bits, one point a setting, with its name beside it."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes  # an optional dependency
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter

from golden.model.evaluation import Result

__all__ = ["draw"]

_AXES = {
    "weights": ("bits_per_weight", "bits of a weight, its share of scales, zeros and selectors included"),
    "kv": ("kv_bits", "bits of a quantised element of the cache, its share of scales and zeros included"),
}
_FAMILY = re.compile(r"[a-z]+?(?=\d|_|$)")
_SAID = {"e": "minifloat", "h": "H2O", "q": "GGUF"}
_SMALL = 7
_REACH = 30
"""Perplexities above so many times that of the stored model are drawn at the upper edge."""


def draw(results: Sequence[Result], base: Result, name: str, title: str, path: Path) -> None:
    """Draw perplexity, and dNLL beside it, with the paired error, over the bits of the weights or the cache.

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
    axes.axhline(base.perplexity, color="grey", linewidth=1, linestyle="dashed", label="as stored")
    families: dict[str, list[_Point]] = {}
    for point in points:
        families.setdefault(point.family, []).append(point)
    for number, (family, own) in enumerate(families.items()):
        axes.errorbar(
            [point.bits for point in own],
            [point.height for point in own],
            [point.error for point in own],
            fmt="os^Dv"[number // 10 % 5],
            color=f"C{number % 10}",
            markersize=4,
            elinewidth=1,
            label=_SAID.get(family, family),
        )
    axes.set(xlabel=label, ylabel="perplexity", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title, fontsize=_SMALL + 2)
    axes.margins(x=0.12)
    axes.grid(which="both", color="0.93")
    axes.set_axisbelow(True)
    axes.legend(fontsize=_SMALL, ncols=2)
    nats = axes.twinx()
    nats.set(ylabel="dNLL, nats a token", ylim=np.log(np.array(axes.get_ylim()) / base.perplexity))
    _label(figure, axes, points)
    figure.savefig(path, dpi=150)


class _Point(NamedTuple):
    """A setting in the picture: its height is a perplexity, and so is the error."""

    family: str
    name: str
    bits: float
    height: float
    error: float

    @classmethod
    def of(cls, result: Result, base: Result, name: str) -> "_Point":
        """Name it; activations of full precision go without saying."""
        said, activations = getattr(result.setting, name), result.setting.activations
        family = _FAMILY.match(said)
        full = said if activations == "fp32" else f"{said} A{activations.removeprefix('fp')}"
        bits, highest = getattr(result, _AXES[name][0]), _REACH * base.perplexity
        if result.perplexity > highest:
            return cls(
                family[0] if family else said, f"{full} ({result.perplexity:,.0f})", bits, highest, 0.0
            )
        error = float(np.nan_to_num(result.against(base).error)) * result.perplexity
        return cls(family[0] if family else said, full, bits, result.perplexity, error)


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
