"""Stored scales at their borders: ml_dtypes' E4M3, half precision, exact fractions; the candidates."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.numbers import datatypes, scales
from golden.weights import search
from golden.weights.quantized import quantize

pytestmark = pytest.mark.quick

E4M3_UNIT = 2.0**-5
"""A scale of e4m3 with the channel 1 in units of ml_dtypes' E4M3: 14 is its largest number, 448."""


def rounded(scale: np.ndarray | list[float], form: str, channel: int = 0) -> np.ndarray:
    """Scales as they are stored, all in one row."""
    row = np.array([scale], np.float64)
    return search.round_to_stored(row, np.array([channel], np.int16), scales.get(form))[0]


def fields(
    scale: np.ndarray | list[float], form: str, channel: int = 0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Mantissas, distances and channel exponent of one row of stored scales, checked to mean the scales."""
    row = np.array([scale], np.float64)
    found = search.encode(row, None, np.array([channel], np.int16), scales.get(form))
    mantissa, distance, exponent = (
        found[name][0].astype(int) for name in ("scale_mantissa", "scale_distance", "channel_exponent")
    )
    positive = row[0] > 0
    assert np.array_equal(np.ldexp(mantissa.astype(float), exponent - distance)[positive], row[0][positive])
    return mantissa, distance, int(exponent)


def numbers_of_e4m3() -> np.ndarray:
    """All positive finite ones, ascending, in units of our scales."""
    codes = np.arange(1, 0x7F, dtype=np.uint8)
    return codes.view(ml_dtypes.float8_e4m3fn).astype(np.float64) * E4M3_UNIT


@pytest.mark.parametrize("channel", [0, -128, 127])
def test_e4m3_is_rounded_as_ml_dtypes_does(channel: int) -> None:
    """Every number, every tie and both neighbours of it; the smallest number is the floor."""
    numbers = numbers_of_e4m3()
    ties = ((numbers[:-1] + numbers[1:]) / 2).astype(np.float32)  # ml_dtypes takes any number as a float32
    near = [np.nextafter(ties, np.float32(end)) for end in (0, 99)]
    ratios = np.concatenate([numbers, ties, *near, numbers[:1] / 2])
    expected = (ratios / E4M3_UNIT).astype(ml_dtypes.float8_e4m3fn).astype(np.float64) * E4M3_UNIT
    expected = np.maximum(expected, 2.0**-14)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(
        rounded(np.ldexp(ratios, channel), "e4m3", channel), np.ldexp(expected, channel)
    )


def test_e4m3_has_the_parts_of_e4m3() -> None:
    """Four significant bits down to distance 14, where the mantissa gets short; never a 15 at distance 0."""
    numbers = numbers_of_e4m3()
    mantissa, distance, _ = fields(numbers, "e4m3")
    patterns = np.arange(1, 0x7F)
    field = np.maximum(patterns >> 3, 1)
    np.testing.assert_array_equal(distance, 15 - field)
    np.testing.assert_array_equal(mantissa, (patterns & 7) + 8 * (patterns > 7))
    assert (mantissa[-1], distance[-1]) == (14, 0)


def test_e4m3_ends() -> None:
    """Beyond 14 there is nothing, just below a power of two the mantissa carries, and 0 alone is 0."""
    top = [13.0, 13.5, np.nextafter(13.5, 0), 14.0, 14.5, 15.0, 1e9]
    assert rounded(top, "e4m3").tolist() == [13, 14, 13, 14, 14, 14, 14]
    assert rounded([7.75, np.nextafter(7.75, 0), 0.0, 1e-30], "e4m3").tolist() == [8, 7.5, 0, 2.0**-14]
    mantissa, distance, _ = fields([0.0, 2.0**-14, 7.5, 8.0], "e4m3")
    assert mantissa.tolist() == [0, 1, 15, 8]
    assert distance[1:].tolist() == [14, 1, 0]


def test_int8_ends() -> None:
    """Whole units of the channel, ties to even, 1 to 255."""
    ratios = [0.0, 1e-30, 0.5, 1.5, 2.5, 254.5, np.nextafter(254.5, 999), 255.0, 256.0]
    expected = [0, 1, 1, 2, 2, 254, 255, 255, 255]
    for channel in 0, -128, 127:
        stored = rounded(np.ldexp(ratios, channel), "int8", channel)
        mantissa, distance, exponent = fields(stored, "int8", channel)
        assert (mantissa.tolist(), set(distance.tolist()), exponent) == (expected, {0}, channel)


def test_fp16_scales_around_every_border() -> None:
    """Below 2^-24 they rise to it, above 65504 they stay there, between they are IEEE half precision."""
    unit = 2.0**-24
    low = [0.0, 2.0**-149, unit / 2, np.nextafter(unit / 2, 1), unit, np.nextafter(1.5 * unit, 0), 1.5 * unit]
    assert (rounded(low, "fp16") / unit).tolist() == [0, 1, 1, 1, 1, 1, 2]
    assert rounded([65503.0, 65504.0, 65519.0, 65520.0, 1e30], "fp16").tolist() == [65504.0] * 5
    patterns = np.arange(1, 0x7C00, dtype=np.uint16)
    numbers = patterns.view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(rounded(numbers, "fp16"), numbers)
    mantissa, distance, exponent = fields(numbers, "fp16")
    assert (mantissa.max(), mantissa.min(), distance.max(), distance.min(), exponent) == (2047, 1, 29, 0, 5)
    assert [field.tolist() for field in fields([unit, 0.0], "fp16")[:2]] == [[1, 0], [0, 0]]


@pytest.mark.parametrize("dtype", ["int4", "bitmod3", "e2m1", "ternary", "int4_asym"])
def test_fp16_weights_that_a_scale_of_zero_would_lose(dtype: str) -> None:
    """Groups on both sides of the smallest scale: what it reaches keeps its codes, the rest is near zero."""
    levels = datatypes.get(dtype).largest
    for search_name in "published", "clip":
        for steps in 0.1, 0.4999, 0.5, 0.75, 1.0, 1.5, 2.5:
            w = np.float32(levels * steps * 2.0**-24) * np.array([[1, -1, 0.5, 0]], np.float32)
            q = quantize(w, dtype, 4, "fp16", search_name)
            assert q.scale_mantissa.min() >= 1
            step = float(q.scale[0, 0] * q.channel[0])
            assert step >= 2.0**-24
            assert np.abs(q.dequantize()).max() <= max(np.abs(w).max() + step, levels * 1e-5)


def test_e8m0_scales_around_every_border() -> None:
    """OCP's E8M0: 2^-127 to 2^127, so that distances reach 254 and 255 is a group of zeros."""
    powers = [2.0**-140, 2.0**-128, 2.0**-127, 2.0**-126, 2.0**-121, 1.0, 2.0**127]
    assert rounded([0.0, *powers, 2.0**128], "e8m0").tolist() == [0, *[2.0**-127] * 2, *powers[2:], 2.0**127]
    mantissa, distance, exponent = fields([2.0**127, 2.0**-127, 0.0, 1.0], "e8m0")
    assert (mantissa.tolist(), distance.tolist(), exponent) == ([1, 1, 1, 1], [0, 254, 255, 127], 127)
    assert [x if isinstance(x, int) else x.tolist() for x in fields([0.0], "e8m0")] == [[1], [255], -128]
    assert fields([2.0**-127], "e8m0")[2] == -127


@pytest.mark.parametrize("dtype", ["e2m1", "int8", "e3m2"])
@pytest.mark.parametrize("exponent", [-149, -140, -129, -128, -127, -126, -122, -121, -120, 0, 127])
def test_e8m0_of_weights_at_both_ends_of_float32(dtype: str, exponent: int) -> None:
    """The OCP rule in whole exponents, within E8M0's range, down to the smallest float32."""
    kind = datatypes.get(dtype)
    levels = kind.largest - (kind.name == "int8")
    w = np.ldexp(np.array([[1.0, -0.5]]), exponent).astype(np.float32)
    q = quantize(w, dtype, 2, "e8m0")
    expected = min(max(exponent - (levels.bit_length() - 1), -127), 127)
    assert (int(q.channel_exponent[0]), int(q.scale_distance[0, 0])) == (expected, 0)
    error = np.abs(q.dequantize() - w.astype(np.float64)).max()
    assert error <= max(2.0**-128, 2.0**exponent / 4)


def test_e8m0_range_of_one_row() -> None:
    """The largest and the smallest float32 side by side, and nothing at all between them."""
    w = np.array([[3e38, 0, 0, 0, 2.0**-149, 0]], np.float32)
    q = quantize(w, "binary", 2, "e8m0", "clip")
    assert q.channel_exponent[0] <= 127
    assert q.scale_distance[0, 1] == 255
    assert 0 < q.scale_distance[0, 2] <= 254


@given(st.floats(2.0**-200, 3.4e38), st.sampled_from(["int8", "e4m3"]))
def test_channel_is_the_smallest_power_of_two_that_holds_the_largest(largest: float, form: str) -> None:
    channel = int(search.channel_for(np.array([largest]), scales.get(form))[0])
    ratio = Fraction(largest) / Fraction(2) ** channel
    top = {"int8": 255, "e4m3": 14}[form]
    assert ratio <= top
    assert channel == -128 or 2 * ratio > top


@pytest.mark.parametrize(("form", "top"), [("int8", 255), ("e4m3", 14)])
def test_channel_at_its_limits(form: str, top: int) -> None:
    """Exact powers, one float above them, and the ends of eight bits."""
    for exponent in -128, -127, 0, 1, 126, 127:
        largest = np.ldexp(float(top), exponent)
        above = min(exponent + 1, 127)
        found = search.channel_for(np.array([largest, np.nextafter(largest, np.inf)]), scales.get(form))
        assert found.tolist() == [exponent, above]
    ends = search.channel_for(np.array([0.0, 2.0**-200, 1e300]), scales.get(form))
    assert ends.tolist() == [0, -128, 127]


def test_candidates_in_the_order_of_ties() -> None:
    """Published ones first; the smallest scale that clips no sign only where values are lopsided."""

    def listed(dtype: str, name: str, power: bool) -> list[tuple[int, float, bool]]:
        return [tuple(each) for each in search.candidates(datatypes.get(dtype), name, power)]

    factors = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
    assert listed("int4", "published", False) == [(0, 1.0, False)]
    assert listed("bitmod3", "published", True) == [(s, 1.0, False) for s in range(4)]
    assert listed("int4", "clip", False) == [(0, factor, False) for factor in factors]
    assert listed("int4_asym", "clip", True) == [(0, factor, False) for factor in (1.0, 2.0, 0.5)]
    assert listed("fp4", "clip", False) == [(0, factor, False) for factor in factors]
    assert listed("binary01", "clip", True) == [(0, factor, False) for factor in (1.0, 2.0, 0.5)]
    both = [(s, factor, covers) for covers in (False, True) for factor in factors for s in range(2)]
    assert listed("fp3_ea", "clip", False) == both
