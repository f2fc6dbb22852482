"""One-bit KV codes: exact means by rational arithmetic, both decodings."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv import magnitudes, sign

pytestmark = pytest.mark.quick


def rounded_mean(magnitudes_of_group: list[Fraction], count: int) -> Fraction:
    """Mean with 11 significant bits and no bit below 2^-24, ties to even."""
    exact = sum(magnitudes_of_group) / count if count else Fraction(0)
    unit = Fraction(1, 2**24)
    while exact >= 2048 * unit:
        unit *= 2
    return round(exact / unit) * unit


@given(
    st.lists(st.integers(0, 0x7BFF), min_size=16, max_size=33),
    st.sampled_from([0x7BFF, 0x0FFF, 0x03FF, 0x000F]),
    st.integers(0, 2**33 - 1),
)
@settings(max_examples=300)
def test_scale_is_the_exact_mean_rounded_once(patterns: list[int], mask: int, signs: int) -> None:
    words = [pattern & mask | (signs >> place & 1) << 15 for place, pattern in enumerate(patterns)]
    x = np.array([words], np.uint16).view(np.float16)
    codes, scale, _ = sign.quantize(x, "token", None)
    values = [Fraction(float(value)) for value in x[0]]
    assert Fraction(float(scale[0, 0])) == rounded_mean([abs(value) for value in values], len(values))
    assert codes[0].tolist() == [int(value >= 0) for value in values]


@given(st.integers(0, 2**46), st.integers(0, 130))
@settings(max_examples=500)
def test_means(total: int, count: int) -> None:
    total = min(total, count * (65504 << 24))
    result = magnitudes.mean(np.array([total], np.int64), np.array([count], np.int64))
    assert Fraction(float(result[0])) == rounded_mean([Fraction(total, 2**24)], count)


def test_means_around_every_tie() -> None:
    """Quotients at, just below and just above the middle of two float16 values, odd and even."""
    for count in 1, 3, 64, 127:
        for kept in 1024, 1025, 2047, 3, 4:
            for shift in range(1 if kept < 1024 else 2, 20):
                middle = (2 * kept + 1 << shift) * count
                totals = np.array([middle // 2 + step for step in (-1, 0, 1)], np.int64)
                result = magnitudes.mean(totals, count)
                expected = [rounded_mean([Fraction(int(total), 2**24)], count) for total in totals]
                assert [Fraction(float(value)) for value in result] == expected


def test_decodings() -> None:
    x = np.array([[1.0, -1.0, 3.0, -0.0] * 4], np.float16)
    codes, scale, zero = sign.quantize(x, "token", None)
    assert codes[0, :4].tolist() == [1, 0, 1, 1]
    assert scale.tolist() == [[1.25]]
    scaled = sign.dequantize(codes, scale, zero, "token", None)
    published = sign.dequantize(codes, scale, zero, "token", None, "published")
    assert scaled[0, :4].tolist() == [1.25, -1.25, 1.25, 1.25]
    assert published[0, :4].tolist() == [1.25, 0, 1.25, 1.25]


def test_unknown_decodings() -> None:
    with pytest.raises(ValueError, match=r"^decode 'both' must be one of scaled, published$"):
        sign.dequantize(*sign.quantize(np.zeros((32, 32))), decode="both")
