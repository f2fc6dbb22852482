"""Weights: 2^(score - maximum), with a running maximum that is an integer.

    maximum' = max(maximum, largest score rounded up)
    weight   = 2^(score - maximum') as tf32

so that a moved maximum is a shift of all earlier sums. A weight's exponent is the integer part of its score
below the maximum, its significand comes from the table of ``golden.numbers.tables`` for the 12 fraction
bits, rounded to 11 bits, ties up (relative error below 1.3e-4 + 2^-11). Weights below 2^-32 are 0.
"""

import numpy as np
from numpy.typing import NDArray

from golden.attention import widths
from golden.attention.product import Real
from golden.attention.rounding import shifted
from golden.numbers.tables import ARGUMENT_BITS, EXP2, VALUE_BITS

__all__ = ["raised", "weights"]

_SIGNIFICANDS = shifted(EXP2(np.arange(1 << ARGUMENT_BITS)), VALUE_BITS - 10) / 1024.0
"""1 to 2 for every fraction, of 11 significant bits."""
_POWERS = np.append(np.exp2(np.arange(0, widths.LEAST_WEIGHT - 1, -1.0)), 0.0)


def raised(
    maximum: NDArray[np.int64], scores: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The maximum [N] after scores [N, P], of which only the valid ones count."""
    lowest = widths.LOWEST << widths.SCORE_FRACTION
    largest = np.where(valid, scores, lowest).max(-1)
    return np.maximum(maximum, -(-largest >> widths.SCORE_FRACTION))


def weights(scores: NDArray[np.int64], maximum: NDArray[np.int64], valid: NDArray[np.bool_]) -> Real:
    """Weights, float64 [N, P] of tf32 numbers 0 to 1, +0 where not valid."""
    distance = np.where(valid, scores - (maximum[:, None] << widths.SCORE_FRACTION), 0)
    below = np.minimum(-(distance >> widths.SCORE_FRACTION), len(_POWERS) - 1)
    found = _SIGNIFICANDS[distance & (1 << ARGUMENT_BITS) - 1] * _POWERS[below]
    return np.where(valid, found, 0.0)
