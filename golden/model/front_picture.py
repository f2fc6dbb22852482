"""A picture of tables of bits: error over mean width, and which layers get the bits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # an optional dependency
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

__all__ = ["draw"]


def draw(
    front: Sequence[tuple[float, float]],
    uniform: Sequence[tuple[float, float, str]],
    chosen: NDArray[np.int64],
    title: str,
    path: Path,
) -> None:
    """Draw the front of all tables beside the uniform ones, and the bits of the chosen one by layer.

    Args:
        front: mean width and error of each table, ascending in width.
        uniform: mean width, error and name of tables with one pair for all layers.
        chosen: int [L, 2].
        title: of model and text.
        path: of the picture; its suffix says the format.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    errors, layers = figure.subplots(1, 2)
    errors.plot(*zip(*front, strict=True), marker=".", label="exact front")
    errors.plot(*zip(*((x, y) for x, y, _ in uniform), strict=True), "s", label="one pair for all layers")
    for x, y, name in uniform:
        errors.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    own = float(chosen.mean())
    errors.axvline(own, color="grey", linestyle="dashed", linewidth=1, label=f"the table, {own:.2f} bits")
    errors.set(xlabel="mean bits of keys and values, without scales", ylabel="sum of relative squared errors")
    errors.set_yscale("log")
    errors.legend()
    for side, name in enumerate(("keys", "values")):
        layers.step(range(len(chosen)), chosen[:, side], where="mid", label=name)
    layers.set(xlabel="layer", ylabel="bits")
    layers.yaxis.set_major_locator(MaxNLocator(integer=True))
    layers.legend()
    figure.suptitle(title)
    figure.savefig(path)
