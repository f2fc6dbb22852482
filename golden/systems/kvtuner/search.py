"""Exact searches: the front of a layer's pairs of widths, and tables of least error."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PAIRS", "front", "pareto", "search"]

PAIRS = np.array(list(product((8, 4, 2), repeat=2)))
"""The paper's candidates of a layer, (bits of keys, bits of values)."""


def pareto(bits: ArrayLike, error: ArrayLike) -> NDArray[np.intp]:
    """The choices that no other one beats: smaller or as small, and better or as good, but not the same.

    Args:
        bits, error: real ``[n]``.

    Returns:
        Indices, ascending in bits and so descending in error; of equal choices the lowest index.

    Raises:
        ValueError: shapes that differ, or a number that is a NaN.
    """
    widths, errors = np.asarray(bits), np.asarray(error)
    if widths.ndim != 1 or widths.shape != errors.shape:
        raise ValueError(f"bits {widths.shape} and error {errors.shape} must be two vectors of one length")
    if np.isnan(widths).any() or np.isnan(errors).any():
        raise ValueError("bits and error must not have NaN")
    chosen: list[int] = []
    for index in np.lexsort((errors, widths)).tolist():  # stable: of equals the lowest index first
        if not chosen or errors[index] < errors[chosen[-1]]:
            chosen.append(index)
    return np.array(chosen, np.intp)


def search(layer_errors: ArrayLike, pairs: ArrayLike, cap: float | Fraction) -> NDArray[np.int64]:
    """The table of least total error whose mean width is at most ``cap``; exact, errors summed exactly.

    Of tables of one error the first in the order of pair numbers, layer 0 first.

    Args:
        layer_errors: real ``[L, P]``, the error of layer l under pair p; infinite where it is no candidate.
        pairs: integers ``[P, 2]``, at least 0: bits of keys and values.
        cap: of the mean of all 2L widths, compared as floats are.

    Returns:
        int64 ``[L, 2]``.

    Raises:
        ValueError: shapes that do not fit, a NaN, a negative width, or a cap that no table keeps.
    """
    if np.isnan(float(cap)):
        raise ValueError("cap must be a number")
    program = _Program(layer_errors, pairs)
    total = _largest_total(2 * program.layers, max(program.least, default=0), cap)
    within = {width: error for width, error in program.least.items() if width <= total}
    if not within:
        raise ValueError(f"cap {cap} must be one that a table of these pairs keeps")
    goal = min(within.values())
    return program.first({width for width, error in within.items() if error == goal}, goal)


def front(layer_errors: ArrayLike, pairs: ArrayLike) -> NDArray[np.int64]:
    """The tables that no other one beats in mean width and total error; exact.

    Args:
        layer_errors, pairs: as for ``search``.

    Returns:
        int64 ``[n, L, 2]``, ascending in width, each as ``search`` finds it under its own mean.

    Raises:
        ValueError: as ``search``.
    """
    program = _Program(layer_errors, pairs)
    if not program.least:
        raise ValueError("errors must leave every layer a pair")
    tables, best = [], None
    for width in sorted(program.least):
        error = program.least[width]
        if best is None or error < best:
            tables.append(program.first({width}, error))
            best = error
    return np.array(tables)


class _Program:
    """The dynamic program: least error of the last layers for every width that they can have in all.

    Attributes:
        layers: L.
        least: total width of all layers to their least error, in units in which errors are integers.

    Raises:
        ValueError: what ``search`` refuses, but for the cap.
    """

    def __init__(self, layer_errors: ArrayLike, pairs: ArrayLike) -> None:
        errors, self._pairs = _arguments(layer_errors, pairs)
        self.layers = len(errors)
        self._costs = _integers(errors)
        self._spent = [int(width) for width in self._pairs.sum(1)]
        self._behind: list[dict[int, int]] = [{0: 0}]
        for costs in reversed(self._costs):
            self._behind.append(_extended(self._behind[-1], costs, self._spent))
        self.least = self._behind.pop()
        self._behind.reverse()

    def first(self, widths: set[int], goal: int) -> NDArray[np.int64]:
        """Of the tables with one of these widths and this error, which is the least, the first."""
        chosen = []
        for costs, behind in zip(self._costs, self._behind, strict=True):
            for place in sorted(costs):
                left = {width - self._spent[place] for width in widths}
                left = {width for width in left if behind.get(width) == goal - costs[place]}
                if left:
                    chosen.append(place)
                    widths, goal = left, goal - costs[place]
                    break
        return self._pairs[chosen].astype(np.int64)


def _arguments(layer_errors: ArrayLike, pairs: ArrayLike) -> tuple[NDArray[np.float64], NDArray]:
    """Errors [L, P] and pairs [P, 2], checked."""
    errors, choices = np.asarray(layer_errors, np.float64), np.asarray(pairs)
    if errors.ndim != 2 or 0 in errors.shape or choices.shape != (errors.shape[1], 2):
        raise ValueError(f"errors {errors.shape} and pairs {choices.shape} must be [L, P] and [P, 2]")
    if np.isnan(errors).any() or np.isneginf(errors).any():
        raise ValueError("errors must be numbers above minus infinity")
    if choices.dtype.kind not in "ui" or choices.min() < 0:
        raise ValueError("pairs must be integers of at least 0")
    return errors, choices


def _largest_total(count: int, most: int, cap: float | Fraction) -> int:
    """Largest sum of ``count`` widths whose mean is at most the cap; -1 if there is none."""
    means = np.arange(most + 1) / count
    return int(np.searchsorted(means, float(cap), side="right")) - 1


def _integers(errors: NDArray[np.float64]) -> list[dict[int, int]]:
    """For every layer its pairs of finite error, in a unit in which all errors are integers."""
    found = [
        {place: Fraction(value) for place, value in enumerate(row) if np.isfinite(value)}
        for row in errors.tolist()
    ]
    unit = max((value.denominator for row in found for value in row.values()), default=1)  # powers of two
    return [{place: int(value * unit) for place, value in row.items()} for row in found]


def _extended(behind: dict[int, int], costs: dict[int, int], spent: Sequence[int]) -> dict[int, int]:
    """Least errors by width with one layer more."""
    best: dict[int, int] = {}
    for place, cost in costs.items():
        for width, error in behind.items():
            wider = width + spent[place]
            if wider not in best or error + cost < best[wider]:
                best[wider] = error + cost
    return best
