"""Layers whose errors are alike."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cluster"]


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
