"""Rescaling and accumulation: group dot products to fixed-point sums.

A group adds to its output

    (scale * (P + zero_point * S)) * 2^(alignment - reach - distance)       and, with an offset,
    (offset * S) * 2^(alignment - reach - offset_distance)                  each rounded down,

where a distance counts from the output's reference exponent: how far the group's activations lie below the
vector's largest exponent, plus how far its scale lies below the output's largest. ``reach`` bounds the
contribution before alignment (``golden.numbers.reach``), so at distance 0 it is below ``2**alignment``. All
outputs are integers and every group is rounded on its own, so the sum depends neither on order nor on tiling.
"""

import numpy as np

from golden.numbers.numerics import Numerics

__all__ = ["contribution", "output_exponent"]

_MOST = 63


def contribution(
    operand: np.ndarray, mantissa: np.ndarray, distance: np.ndarray, reach: int, numerics: Numerics
) -> np.ndarray:
    """One aligned, rounded-down contribution.

    Args:
        operand: int64, P + zero_point * S, or S for an offset.
        mantissa: scale or offset, of a shape that broadcasts with ``operand``.
        distance: total distance below the output's reference, not negative; likewise.
        reach: ``golden.numbers.reach.reach`` of the matrix.
        numerics: widths.

    Returns:
        int64, in units of the accumulator's lowest bit.
    """
    product = operand.astype(np.int64) * mantissa
    amount = np.asarray(distance, np.int64) + reach - numerics.alignment
    return np.where(amount >= 0, product >> np.clip(amount, 0, _MOST), product << np.clip(-amount, 0, _MOST))


def output_exponent(
    channel_exponent: np.ndarray, reference: int, bias: int, reach: int, numerics: Numerics
) -> np.ndarray:
    """Exponent of the accumulator's lowest bit.

    Args:
        channel_exponent: exponent of the output's channel scale.
        reference: largest exponent field of the activation vector.
        bias: exponent bias of the activation format, 15 or 127.
        reach: as for ``contribution``.
        numerics: widths.
    """
    lowest_activation_bit = reference - bias - (numerics.activation_bits - 2)
    return np.asarray(channel_exponent, np.int64) + lowest_activation_bit + reach - numerics.alignment
