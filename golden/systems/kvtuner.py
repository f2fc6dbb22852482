"""KVTuner (arXiv 2502.04420, ICML 2025): how many bits the keys and the values of every layer get.

A *table* is int64 [L, 2], the bits of a layer's keys and values, found offline in three stages:

* within a layer, pairs of widths that are worse and not smaller than another are dropped (``pareto``);
* layers whose errors are alike may share their choice (``cluster``);
* the table of least error under a cap on the mean width (``search``).

The paper has a genetic search of 100 to 200 trials in the third stage, because it measures the accuracy of
whole tables. Errors that add up over layers have an exact optimum instead: a dynamic program over the widths
spent so far, which needs no clustering either.
"""

import re
import tomllib
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PAIRS", "WIDTHS", "cluster", "load", "pareto", "save", "search"]

WIDTHS = (2, 4, 8, 16)
"""Bits of a key or value in a table; 16 is float16 as it is."""

PAIRS = np.array(list(product((8, 4, 2), repeat=2)))
"""The paper's candidates of a layer, (bits of keys, bits of values)."""

_PRESET_LINE = re.compile(r"(?P<layer>\d+):|\s+nbits_(?P<side>key|value):\s*(?P<bits>\d+)")


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
    errors, choices = np.asarray(layer_errors, np.float64), np.asarray(pairs)
    if errors.ndim != 2 or 0 in errors.shape or choices.shape != (errors.shape[1], 2):
        raise ValueError(f"errors {errors.shape} and pairs {choices.shape} must be [L, P] and [P, 2]")
    if np.isnan(errors).any() or np.isneginf(errors).any():
        raise ValueError("errors must be numbers above minus infinity")
    if choices.dtype.kind not in "ui" or choices.min() < 0:
        raise ValueError("pairs must be integers of at least 0")
    if np.isnan(float(cap)):
        raise ValueError("cap must be a number")
    spent = [int(width) for width in choices.sum(1)]
    total = _largest_total(2 * len(errors), len(errors) * max(spent), cap)
    rest: list[dict[int, int]] = [{0: 0}]  # width of the layers behind to their least error
    for costs in reversed(_integers(errors)):
        rest.append(_extended(rest[-1], costs, spent, total))
    if not rest[-1]:
        raise ValueError(f"cap {cap} must be one that a table of these pairs keeps")
    return choices[_first_best(rest, _integers(errors), spent, total)].astype(np.int64)


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


def _extended(
    behind: dict[int, int], costs: dict[int, int], spent: Sequence[int], total: int
) -> dict[int, int]:
    """Least errors by width with one layer more."""
    best: dict[int, int] = {}
    for place, cost in costs.items():
        for width, error in behind.items():
            wider = width + spent[place]
            if wider <= total and (wider not in best or error + cost < best[wider]):
                best[wider] = error + cost
    return best


def _first_best(
    rest: list[dict[int, int]], layers: list[dict[int, int]], spent: Sequence[int], total: int
) -> list[int]:
    """Pair numbers of the first table with the least error of all within ``total``."""
    goal = min(rest[-1].values())
    widths = {width for width, error in rest[-1].items() if error == goal}  # of what is still to be chosen
    chosen = []
    for costs, behind in zip(layers, reversed(rest[:-1]), strict=True):
        for place in sorted(costs):
            left = {w - spent[place] for w in widths if behind.get(w - spent[place]) == goal - costs[place]}
            if left:
                chosen.append(place)
                widths, goal = left, goal - costs[place]
                break
    return chosen


def cluster(layer_errors: ArrayLike, distance: float) -> NDArray[np.intp]:
    """Layers that are alike: the same pruned pairs, and errors that differ by at most ``distance``.

    Agglomerative, complete linkage: two groups of layers merge while the largest relative difference of any
    two errors of the merged group is at most ``distance``; nearest groups first, ties to the lowest layers.
    The paper splits by candidate sets and then clusters by errors too, but does not name its algorithm.

    Args:
        layer_errors: real ``[L, P]`` above 0; infinite where a pair was pruned.
        distance: of the errors' natural logarithms, at least 0.

    Returns:
        int ``[L]``, the group of every layer, numbered in the order of their first layers.
    """
    errors = np.asarray(layer_errors, np.float64)
    finite = np.isfinite(errors)
    logs = np.log(np.where(finite, errors, 1))
    apart = np.abs(logs[:, None] - logs[None]).max(-1)
    apart[(finite[:, None] != finite[None]).any(-1)] = np.inf
    groups = [[layer] for layer in range(len(errors))]
    while len(groups) > 1:
        pairs = [(a, b) for b in range(len(groups)) for a in range(b)]
        gaps = [apart[np.ix_(groups[a], groups[b])].max() for a, b in pairs]
        nearest = int(np.argmin(gaps))
        if gaps[nearest] > distance:
            break
        a, b = pairs[nearest]
        groups[a] += groups.pop(b)
    numbers = np.empty(len(errors), np.intp)
    for number, members in enumerate(sorted(groups, key=min)):
        numbers[members] = number
    return numbers


def load(path: str | Path) -> NDArray[np.int64]:
    """Read a table: a published preset (YAML), or the TOML that ``save`` writes.

    A preset has, for every layer in any order, the lines ``0:``, ``  nbits_key: 8`` and
    ``  nbits_value: 4``; comments and empty lines are left out.

    Returns:
        int64 ``[L, 2]``, bits of keys and values.

    Raises:
        ValueError: a file that is none of these, a missing layer, or a width that is not one of ``WIDTHS``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        rows = tomllib.loads(text)["layers"] if path.suffix == ".toml" else _preset(text)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: no table of bits: {error}") from None
    return _checked(path, rows)


def save(path: str | Path, table: ArrayLike, about: str = "") -> None:
    """Write a table as TOML: ``layers``, a list of [bits of keys, bits of values].

    Args:
        path: of the file.
        table: integers ``[L, 2]``, each one of ``WIDTHS``.
        about: comment at its head, any number of lines.

    Raises:
        ValueError: no such table.
    """
    rows = _checked(Path(path), np.asarray(table).tolist())
    lines = [f"# {line}".rstrip() for line in about.splitlines()]
    lines += [f"bits = {rows.mean()}", "layers = [  # bits of keys and of values"]
    lines += [f"    [{key}, {value}]," for key, value in rows]
    Path(path).write_text("\n".join([*lines, "]", ""]), encoding="utf-8")


def _preset(text: str) -> list[list[int]]:
    """Rows of a published preset."""
    layers: dict[int, dict[str, int]] = {}
    layer = None
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#")[0].rstrip()
        if not content or content == "---":
            continue
        found = _PRESET_LINE.fullmatch(content)
        if found is None or (layer is None and found["layer"] is None):
            raise ValueError(f"line {number}, {content.strip()!r}")
        if found["layer"] is not None:
            layer = int(found["layer"])
            if layer in layers:
                raise ValueError(f"layer {layer} is there twice")
            layers[layer] = {}
        elif layer is not None:
            layers[layer][found["side"]] = int(found["bits"])
    for layer in range(max(layers, default=-1) + 1):
        if set(layers.get(layer, ())) != {"key", "value"}:
            raise ValueError(f"layer {layer} must have its bits of keys and of values")
    return [[layers[layer][side] for side in ("key", "value")] for layer in sorted(layers)]


def _checked(path: Path, rows: object) -> NDArray[np.int64]:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: a table must have at least one layer")
    for layer, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 2:
            raise ValueError(f"{path}: layer {layer}, {row}, must be [bits of keys, bits of values]")
        for bits in row:
            if type(bits) is not int or bits not in WIDTHS:
                raise ValueError(f"{path}: bits {bits} of layer {layer} must be one of {WIDTHS}")
    return np.array(rows, np.int64)
