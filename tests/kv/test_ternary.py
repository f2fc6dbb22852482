"""Ternary KV codes: thresholds by rational arithmetic, three decodings."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv import ternary
from golden.numbers import datatypes

pytestmark = pytest.mark.quick


def slow(group: list[Fraction], gamma: Fraction) -> tuple[list[int], Fraction, Fraction]:
    """Trits and the exact means of the magnitudes kept and of all."""
    mean = sum(abs(x) for x in group) / len(group)
    trits = [(x > gamma * mean) - (x < -gamma * mean) for x in group]
    kept = [abs(x) for x, trit in zip(group, trits, strict=True) if trit]
    return trits, sum(kept) / len(kept) if kept else Fraction(0), mean


def half(value: Fraction) -> Fraction:
    unit = Fraction(1, 2**24)
    while value >= 2048 * unit:
        unit *= 2
    return round(value / unit) * unit


@given(
    st.lists(st.integers(0, 0x7BFF), min_size=16, max_size=40),
    st.sampled_from([0x7BFF, 0x0FFF, 0x001F, 0x0007]),
    st.integers(0, 2**40 - 1),
    st.sampled_from([0, 64, 128, 179, 255]),
)
@settings(max_examples=300)
def test_trits_and_scales_are_exact(patterns: list[int], mask: int, signs: int, gamma: int) -> None:
    words = [pattern & mask | (signs >> place & 1) << 15 for place, pattern in enumerate(patterns)]
    x = np.array([words], np.uint16).view(np.float16)
    trits, kept, mean = slow([Fraction(float(value)) for value in x[0]], Fraction(gamma, 256))
    for decode, expected in ("kept", half(kept)), ("scaled", half(mean)), ("published", Fraction(1)):
        codes, scale, zero = ternary.quantize(x, "token", None, gamma / 256, decode)
        assert ternary.TRITS[codes[0]].tolist() == trits
        assert Fraction(float(scale[0, 0])) == expected
        values = ternary.dequantize(codes, scale, zero, "token", None)
        assert [Fraction(float(value)) for value in values[0]] == [trit * expected for trit in trits]


def test_an_element_at_the_threshold_is_zero() -> None:
    """Mean 1, threshold exactly one half: only what is larger counts."""
    x = np.array([[0.5, -0.5, 0.501, -0.501, 1.5, -1.5, 1.5, 1.498] * 2], np.float16)
    codes, *_ = ternary.quantize(x, "token", None, 0.5)
    trits, _, _ = slow([Fraction(float(value)) for value in x[0]], Fraction(1, 2))
    assert ternary.TRITS[codes[0]].tolist() == trits
    x[:] = np.array([1, 1, 2, 2] * 4) * np.where(np.arange(16) % 3, 1, -1)
    x[0, :2] = 0.75, 2.25
    codes, *_ = ternary.quantize(x, "token", None, 128 / 256)
    assert codes[0, 0] == 0  # mean 1.5, gamma * mean = 0.75


def test_codes_are_those_of_the_data_type() -> None:
    np.testing.assert_array_equal(datatypes.get("ternary").values(), ternary.TRITS)


def test_few_codes_differ_from_float16_thresholds(rng: np.random.Generator) -> None:
    """The published arithmetic: mean in float32 rounded to float16, times gamma in float16."""
    x = rng.standard_normal((512, 32)).astype(np.float16)
    mean = np.abs(x).astype(np.float32).mean(1, keepdims=True).astype(np.float16)
    for gamma, most in (0.5, 0.0005), (0.7, 0.003):
        threshold = np.float16(gamma) * mean
        published = (x > threshold).astype(int) - (x < -threshold)
        codes, *_ = ternary.quantize(x, "token", None, gamma)
        assert (ternary.TRITS[codes] != published).mean() < most


def test_illegal_arguments() -> None:
    x = np.zeros((32, 32))
    for gamma in 1.0, -0.1, float("nan"):
        with pytest.raises(ValueError, match=rf"^gamma {gamma} must be 0\.\.255/256$"):
            ternary.quantize(x, gamma=gamma)
    with pytest.raises(ValueError, match=r"^decode 'half' must be one of kept, scaled, published$"):
        ternary.quantize(x, decode="half")
    with pytest.raises(ValueError, match=r"^code 3 must be 0\.\.2$"):
        ternary.dequantize(np.full((32, 32), 3, np.uint8), *np.ones((2, 32, 1), np.float16))
