"""Importance: how much attention each token of a KV head has had, summed over steps and query heads.

    sum[t] += 2^(score[n,t] - normaliser[n])   over the queries n of the head's group

which is the softmax of ``golden.attention``, from its scores and its final state. Sums are 32-bit integers in
units of 2^-20 and stay at their largest, nearly 4,096, once they are there. New tokens start at 0.

A weight must wait for its query's final sum, so scores are looked at once that is known. Either the queries
of a step are asked again beside those of the next one, as rows that share the pages of a list, and the array
works twice while nothing is read twice; or a probe reads the keys once more. A sum costs 4 bytes read and 4
written, 8.3 % of the 96 bytes of a token's key and value (D = 128, native2, closed pages); a probe of every
32nd step with its 48 bytes of keys 1.8 %.

Roundings, in order:

1. log2 of the sum of weights to units of 2^-12, down: the fraction, found bit by bit from the highest one,
   whose power from the table (``golden.numbers.tables``) is not above the sum, of which 24 bits count behind
   the leading one;
2. the weight, from the same table, to units of 2^-20, to nearest, ties up; a score that roundings have
   brought above the normaliser counts as equal to it.

A weight is within 5e-4 of its exact value and half a unit.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.attention.rounding import shifted
from golden.attention.widths import SCORE_FRACTION, TOTAL_FRACTION
from golden.numbers.tables import ARGUMENT_BITS, EXP2, VALUE_BITS

__all__ = ["EMPTY", "FRACTION_BITS", "LARGEST", "accumulate", "normalisers", "of_lifetime", "weights"]

FRACTION_BITS = 20
"""Of a sum; 1 is all that a query gives in a step."""
LARGEST = (1 << 32) - 1
EMPTY = (1 << 20) << SCORE_FRACTION
"""Normaliser of a query that has seen no token: all its weights are 0."""


def normalisers(maximum: ArrayLike, total: ArrayLike) -> NDArray[np.int64]:
    """log2 of what weights are divided by, for scores that are not relative to the maximum.

    Args:
        maximum, total: ``[N]``, of ``golden.attention.engine.State`` at the end of a step.

    Returns:
        int64 ``[N]`` in units of 2^-12, as scores; ``EMPTY`` where the total is 0.
    """
    largest, sums = np.asarray(maximum, np.int64), np.asarray(total, np.int64)
    length = np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    length -= sums < np.int64(1) << np.maximum(length - 1, 0)  # where float64 has rounded up
    exponent = np.maximum(length - 1, 0)
    excess = exponent - VALUE_BITS
    leading = np.where(excess > 0, sums >> np.maximum(excess, 0), sums << np.maximum(-excess, 0))
    fraction = np.zeros_like(sums)
    for place in reversed(range(ARGUMENT_BITS)):
        higher = fraction | 1 << place
        fraction = np.where(EXP2(higher) <= leading, higher, fraction)
    found = (largest + exponent - TOTAL_FRACTION << SCORE_FRACTION) + fraction
    return np.where(sums > 0, found, EMPTY)


def weights(scores: ArrayLike, normaliser: ArrayLike) -> NDArray[np.int64]:
    """Normalised weights.

    Args:
        scores: ``[N, T]`` in units of 2^-12.
        normaliser: ``[N]``.

    Returns:
        int64 ``[N, T]`` in units of 2^-20.
    """
    distance = np.minimum(np.asarray(scores, np.int64) - np.asarray(normaliser, np.int64)[:, None], 0)
    below = -(distance >> SCORE_FRACTION)
    return shifted(EXP2(distance & (1 << ARGUMENT_BITS) - 1), VALUE_BITS - FRACTION_BITS + below)


def accumulate(
    sums: ArrayLike,
    scores: ArrayLike,
    maximum: ArrayLike,
    total: ArrayLike,
    live: ArrayLike | None = None,
) -> NDArray[np.uint32]:
    """Add a step's weights.

    Args:
        sums: ``[T0]`` before, T0 <= T; the tokens behind start at 0.
        scores: ``[N, T]`` of the queries of a KV head, in units of 2^-12.
        maximum, total: ``[N]``, their final state.
        live: ``bool [T]``, False for tokens that are not there, which have no importance; default: all are.

    Returns:
        uint32 ``[T]``.

    Raises:
        ValueError: more sums than scores.
    """
    before, found = np.asarray(sums), weights(scores, normalisers(maximum, total)).sum(0)
    if len(before) > len(found):
        raise ValueError(f"{len(before)} sums but scores of {len(found)} tokens only")
    found[: len(before)] += before.astype(np.int64)
    kept = np.ones(len(found), bool) if live is None else np.asarray(live, bool)
    return np.where(kept, np.minimum(found, LARGEST), 0).astype(np.uint32)


def of_lifetime(sums: ArrayLike, steps: ArrayLike) -> NDArray[np.uint32]:
    """Sums divided by how many steps each token could be looked at, rounded down; 0 steps count as 1.

    Args:
        sums: uint32 ``[T]``.
        steps: ``[T]``: of ZipCache's prompt T - j for token j, of a cache that goes on its age.
    """
    return (np.asarray(sums, np.int64) // np.maximum(np.asarray(steps, np.int64), 1)).astype(np.uint32)
