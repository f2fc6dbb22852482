"""Exact top-k and top-p of non-negative scores; of equal scores the lowest index comes first.

Scores are compared and summed exactly, whatever their type: no float rounding decides which token stays.
"""

from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ascending", "descending", "top_k", "top_p"]


def _checked(scores: ArrayLike) -> NDArray[Any]:
    """Scores as a vector of unsigned integers or floats.

    Raises:
        ValueError: not one-dimensional, or with a score that is negative, infinite or no number.
    """
    values = np.asarray(scores)
    if values.ndim != 1:
        raise ValueError(f"scores of shape {values.shape} must have one dimension")
    if values.dtype.kind not in "uif" and values.size:
        raise ValueError(f"scores of type {values.dtype} must be unsigned integers or floats")
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError("scores must be finite and at least 0")
    return values if values.dtype.kind == "f" else values.astype(np.uint64)


def ascending(scores: ArrayLike) -> NDArray[np.intp]:
    """Indices of ``scores[T]`` from the smallest to the largest, equal ones in ascending order.

    Raises:
        ValueError: scores that are not a vector of finite numbers of at least 0.
    """
    return np.argsort(_checked(scores), kind="stable")


def descending(scores: ArrayLike) -> NDArray[np.intp]:
    """Indices of ``scores[T]`` from the largest to the smallest, equal ones in ascending order.

    Raises:
        ValueError: scores that are not a vector of finite numbers of at least 0.
    """
    values = _checked(scores)
    # Distances from the maximum keep the order of unsigned integers, negation that of floats.
    keys = -values if values.dtype.kind == "f" else values.max(initial=0) - values
    return np.argsort(keys, kind="stable")


def _chosen(order: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    mask = np.zeros(len(order), bool)
    mask[order[:count]] = True
    return mask


def top_k(scores: ArrayLike, k: int, lowest: bool = False) -> NDArray[np.bool_]:
    """The k largest scores.

    Args:
        scores: ``[T]``, at least 0: unsigned integers or floats.
        k: how many, at least 0; all where k >= T.
        lowest: the k smallest ones instead; still of equal scores the lowest indices.

    Returns:
        ``bool[T]``.

    Raises:
        ValueError: a negative k, or scores that ``descending`` refuses.
    """
    if k < 0:
        raise ValueError(f"k {k} must be at least 0")
    return _chosen((ascending if lowest else descending)(scores), k)


def _integers(scores: NDArray[Any]) -> list[int]:
    """The scores in a unit of their own in which all of them are integers."""
    if scores.dtype.kind != "f":
        return scores.tolist()
    fractions, exponents = np.frexp(scores.astype(np.float64))
    significands = np.ldexp(fractions, 53).astype(np.int64).tolist()
    used = exponents[scores > 0]
    least = int(used.min()) if used.size else 0
    shifts = np.maximum(exponents - least, 0).tolist()
    return [significand << shift for significand, shift in zip(significands, shifts, strict=True)]


def top_p(scores: ArrayLike, tau: float | Fraction, lowest: bool = False) -> NDArray[np.bool_]:
    """The fewest tokens whose scores sum to at least ``tau`` of the total.

    The total and every partial sum are exact.
    Where all scores are zero no token is needed, so none is chosen.

    Args:
        scores: ``[T]``, at least 0: unsigned integers or floats.
        tau: share of the total, 0..1, taken as the exact number that it is.
        lowest: take the smallest scores first, which needs the most tokens instead.

    Returns:
        ``bool[T]``: the shortest prefix that is enough of the tokens in descending order of scores, or
        ascending order.

    Raises:
        ValueError: tau outside 0..1, or scores that ``descending`` refuses.
    """
    share = Fraction(tau)
    if not 0 <= share <= 1:
        raise ValueError(f"tau {tau} must be between 0 and 1")
    values = _checked(scores)
    order = (ascending if lowest else descending)(values)
    sums = list(accumulate(_integers(values[order]), initial=0))
    # In integers: sum / total >= numerator / denominator.
    needed = share.numerator * sums[-1]
    count = next(index for index, partial in enumerate(sums) if partial * share.denominator >= needed)
    return _chosen(order, count)
