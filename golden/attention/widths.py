"""Widths of the attention engine, and why no sum overflows.

====================  ================  ==============================================================
number                bits              range and unit
====================  ================  ==============================================================
offset term of keys   52, signed        |each product| < 2^24, |sum| < 2^33, in units of 2^-18
score                 32, signed        |score| <= 2^19 - 1, in units of 2^-12
maximum               20, signed        an integer; -2^19: no token yet
weight                11 and exponent   0, or 2^-32 to 1
sum of weights        50, unsigned      up to 2^17, in units of 2^-32
value sum             51, signed        units of 2^(top - 38), where ``top`` is a float16 exponent field
offset term of        52, signed        the page's sum, in units of 2^(top - 50)
values
====================  ================  ==============================================================

*Value sums.* Every step and every offset of a head's pages has an exponent field of at most ``top``, so it is
below 2^(top - 14) in magnitude; codes reach 255. A token's weight is at most 1. What a token adds is below
256 * 2^(top - 14) but for roundings: of a weighted step to 11 bits (relative 2^-11), of its alignment (at
most one unit, 2^-6 of the page's largest at 8 bits), of the sums (half a unit each). Twice as much,
2^9 * 2^(top - 14), covers them by far, also while the centred part has been added and the offset term has
not. With 2^17 tokens and 24 bits below 2^(top - 14) a sum stays below 2^(9 + 17 + 24) units: 50 bits and the
sign. Shifting for a new maximum halves, and rounds by half a unit.

The 24 bits are for long contexts with a sink, a first token that has nearly all the weight: of 32,768 random
tokens that weigh e^-10 to e^-16 of it 24 bits leave errors up to 2.8e-3, 21 bits 1.7e-2, 18 bits 1.2e-1
(relative RMS, A = 12), where 26 bits and more leave 1.6e-3.

*Offset terms of values.* A page has at most 64 tokens with two products each, below 2^(top - 14) and
2^(7 + top - 14): in units of 2^(top - 50) below 2^36 and 2^43, together below 2^50. They need those 12 bits
more than the sums have, since they are rounded token by token.

*Sum of weights.* 2^17 tokens of at most 1: at most 2^49 units.

*Offset terms of keys.* A head has at most 256 channels with two products each, which saturate below 2^42
units: below 2^51.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONTEXT_BITS",
    "LEAST_WEIGHT",
    "LOWEST",
    "MOST_CHANNELS",
    "SCORE_FRACTION",
    "SUM_BITS",
    "SUM_FRACTION",
    "TERM_EXTRA",
    "TERM_FRACTION",
    "TERM_INTEGER",
    "TOTAL_FRACTION",
    "sum_exponent",
]

Fields = TypeVar("Fields", int, NDArray[np.int64])

CONTEXT_BITS = 17
"""Tokens of the longest context, as a power of two: 131,072."""
MOST_CHANNELS = 256

SCORE_FRACTION = 12
LOWEST = -(1 << 19)
"""Maximum before the first token; scores saturate at ``LOWEST + 1`` and ``-LOWEST - 1``."""

TERM_FRACTION = 18
TERM_INTEGER = 24
"""Products for offset terms of keys saturate below 2 to this."""

LEAST_WEIGHT = -32
"""Exponent below which a weight is 0."""
TOTAL_FRACTION = 32

SUM_FRACTION = 24
"""Bits of a value sum below 2^(top - 14)."""
SUM_BITS = 1 + 9 + CONTEXT_BITS + SUM_FRACTION
TERM_EXTRA = 12
"""Bits of an offset term of values below those of a value sum."""


def sum_exponent(top: Fields) -> Fields:
    """Exponent of a value sum's unit, of the largest exponent field of the head's steps and offsets."""
    return top - 14 - SUM_FRACTION
