"""Queries in the base-2 domain: every float16, every length, against integers and decimals of many digits."""

import decimal
import math
from decimal import Decimal

import numpy as np
import pytest

from golden.attention import widths
from golden.attention.scores import fold, query_factor

pytestmark = pytest.mark.quick

LENGTHS = range(16, widths.MOST_CHANNELS + 1, 16)
UNIT = 1 << 24
"""A finite float16 is an integer of its reciprocal."""


def exact_factor(channels: int) -> tuple[int, int]:
    """1 / (ln 2 * sqrt(channels)) to 16 significant bits, and the exponent of the last one."""
    with decimal.localcontext(prec=60):
        factor, exponent = 1 / (Decimal(2).ln() * Decimal(channels).sqrt()), 0
        while factor < 1 << 15:
            factor, exponent = factor * 2, exponent - 1
        return int(factor.to_integral_value(decimal.ROUND_HALF_EVEN)), exponent


def nearest_even(product: int, bits: int) -> int:
    """An integer to so many significant bits."""
    dropped = max(abs(product).bit_length() - bits, 0)
    kept, rest = divmod(abs(product), 1 << dropped)
    kept += 2 * rest + (kept & 1) > 1 << dropped
    return (kept << dropped) * (-1 if product < 0 else 1)


@pytest.mark.parametrize("channels", LENGTHS)
def test_factors(channels: int) -> None:
    factor, exponent = query_factor(channels)
    assert (factor, exponent) == exact_factor(channels)
    assert factor.bit_length() == 16
    assert factor % 16  # so no product with an integer of 11 bits lies half way between two of 11 bits


@pytest.mark.parametrize("channels", LENGTHS)
def test_every_float16(channels: int) -> None:
    """Signs of zeros too; NaN and infinity become +0 and mark their query."""
    patterns = np.resize(np.arange(1 << 16), (-(-(1 << 16) // channels), channels)).astype(np.uint16)
    query = fold(patterns.view(np.float16))
    assert (query.special == ((patterns & 0x7C00) == 0x7C00).any(-1)).all()
    factor, exponent = exact_factor(channels)
    for pattern, value in zip(patterns.ravel().tolist(), query.values.ravel().tolist(), strict=True):
        field, fraction = pattern >> 10 & 31, pattern & 1023
        magnitude = fraction if field == 0 else (fraction + 1024) << field - 1
        wanted = 0 if field == 31 else nearest_even(magnitude * factor, 11)
        assert abs(value) == math.ldexp(wanted, exponent) / UNIT
        assert math.copysign(1, value) == (-1 if pattern >> 15 and field < 31 else 1)
