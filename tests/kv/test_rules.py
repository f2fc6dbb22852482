"""Affine rules: exact rational arithmetic rounded by hand, and the widths that hardware is promised."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv import affine
from golden.kv.rules import RULES

pytestmark = pytest.mark.quick


def rounded(value: Fraction, precision: int, lowest: int) -> Fraction:
    """Nearest multiple of a power of two with so many significant bits, ties to even."""
    if value == 0:
        return value
    exponent = math.floor(math.log2(abs(value)))
    exponent += (abs(value) >= Fraction(2) ** (exponent + 1)) - (abs(value) < Fraction(2) ** exponent)
    unit = Fraction(2) ** max(exponent - precision + 1, lowest)
    return round(value / unit) * unit


def half(value: Fraction) -> Fraction:
    result = rounded(value, 11, -24)
    assert abs(result) <= 65504
    return result


def single(value: Fraction) -> Fraction:
    return rounded(value, 24, -149)


def clamp(value, low, high):
    return min(max(value, low), high)


def slow_group(rule: str, group: list[Fraction], bits: int):
    """Codes, scale, zero and decoded values of one group, operation by operation."""
    low, high, top, middle = min(group), max(group), 2**bits - 1, 2 ** (bits - 1)
    if low == high and not rule.endswith("_symmetric"):
        return [0] * len(group), Fraction(0), low, [low] * len(group)
    if rule in ("kivi", "quanto", "zipcache", "mikv"):
        scale, zero = half(half(high - low) / top), low
        codes = [clamp(round(half(half(x - low) / scale)), 0, top) if scale else 0 for x in group]
        values = [half(half(q * scale) + low) for q in codes]
    elif rule == "kvtuner":
        scale = half(max(half(high - low), half(Fraction(1, 100000))) / top)
        zero = half(Fraction(round(half(low / scale)) + middle))
        codes = [clamp(round(half(half(x / scale) - zero)), -middle, middle - 1) + middle for x in group]
        values = [half(half(q - middle + zero) * scale) for q in codes]
    elif rule == "kvtuner_symmetric":
        scale = half(max(-low, high, half(Fraction(1, 100000))) / (middle - 1))
        zero = Fraction(0)
        codes = [clamp(round(half(x / scale)), -middle, middle - 1) + middle for x in group]
        values = [half((q - middle) * scale) for q in codes]
    elif rule == "atom":
        scale = half(max(half(high - low), half(Fraction(1, 100000))) / top)
        zero = Fraction(clamp(round(half(-low / scale)), 0, top))
        codes = [clamp(round(half(x / scale)) + int(zero), 0, top) for x in group]
        values = [half((q - zero) * scale) for q in codes]
    elif rule == "qserve":
        scale = half(single(single(high - low) / top))
        if not scale:
            return [0] * len(group), scale, low, [low] * len(group)
        zero = half(single(single(-top * low) / single(high - low)))
        inverse = single(1 / scale)
        codes = [clamp(round(single(single(x * inverse) + zero)), 0, 255) & top for x in group]
        values = [single(single(q - zero) * scale) for q in codes]
    elif rule == "hqq":
        reciprocal = min(single(single(1 / single(high - low)) * top), Fraction(20000))
        zero, scale = single(-low * reciprocal), single(1 / reciprocal)
        codes = [clamp(round(single(single(x * reciprocal) + zero)), 0, top) for x in group]
        values = [single(single(q - zero) * scale) for q in codes]
    elif rule == "kvquant":
        scale = single(single(1 / single(high - low)) * top)
        zero = single(low * scale)
        codes = [clamp(round(single(single(scale * x) - zero)), 0, top) for x in group]
        values = [single(single(q + zero) / scale) for q in codes]
    elif rule == "native_symmetric":
        largest, most, zero = max(-low, high), middle - 1, Fraction(0)
        scale = max(half_unbounded(largest / most), Fraction(largest > 0, 2**24))
        codes = [clamp(round(x / scale), -most, most) + middle if scale else middle for x in group]
        values = [(q - middle) * scale for q in codes]
    else:
        scale, zero = clamp(half_unbounded((high - low) / top), Fraction(1, 2**24), Fraction(65504)), low
        codes = [min(round((x - low) / scale), top) for x in group]
        values = [q * scale + low for q in codes]
    return codes, scale, zero, values


def half_unbounded(value: Fraction) -> Fraction:
    return rounded(value, 11, -24)


def sample(seed: int, shape: tuple[int, ...], exponent: int = 0, offset: float = 0.0) -> np.ndarray:
    """Normal elements, one in 64 of them ten times as large."""
    rng = np.random.default_rng(seed)
    outliers = np.where(rng.random(shape) < 1 / 64, 10, 1)
    return ((rng.standard_normal(shape) * outliers + offset) * 2.0**exponent).astype(np.float16)


def fractions(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(value)) for value in values.ravel()]


def check_group(rule: str, x: np.ndarray, bits: int) -> None:
    codes, scale, zero = affine.quantize(x, bits, "token", None, rule)
    values = affine.dequantize(codes, scale, zero, bits, "token", None, rule)
    slow = slow_group(rule, fractions(x), bits)
    assert codes.ravel().tolist() == slow[0]
    assert fractions(scale) == [slow[1]]
    assert fractions(zero) == [slow[2]]
    assert fractions(values) == slow[3]


@pytest.mark.parametrize(
    ("rule", "bits"),
    [(rule, bits) for rule in RULES for bits in affine.BITS if bits >= RULES[rule].least_bits],
)
def test_every_rule_is_its_rational_arithmetic(rule: str, bits: int) -> None:
    for seed, exponent, offset in (0, 0, 0), (1, -9, 1), (2, 6, -2), (3, -3, 8), (4, 2, 0):
        check_group(rule, sample(seed, (1, 96), exponent, offset), bits)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(RULES)),
    st.sampled_from(affine.BITS),
    st.integers(-12, 9),
    st.sampled_from([0.0, 0.3, -6.0]),
)
@settings(max_examples=150)
def test_at_every_magnitude(seed: int, rule: str, bits: int, exponent: int, offset: float) -> None:
    bits = max(bits, RULES[rule].least_bits)
    check_group(rule, sample(seed, (1, 20), exponent, offset), bits)


@given(
    st.lists(st.integers(-40, 40), min_size=16, max_size=16),
    st.integers(-200, 200),
    st.sampled_from(affine.BITS),
)
@settings(max_examples=60)
def test_ties_and_subnormal_scales(units: list[int], offset: int, bits: int) -> None:
    """Elements a few units of 2^-24 apart: exact ties, scales of one unit, quotients beyond the top code."""
    for shift in 0, offset:
        x = ((np.array([units]) + shift) * 2.0**-24).astype(np.float16)
        for rule in RULES:
            check_group(rule, x, max(bits, RULES[rule].least_bits))


@pytest.mark.parametrize("scale", [2, 6, 1 << 14])
@pytest.mark.parametrize(
    ("rule", "bits"),
    [
        (rule, bits)
        for rule in ("native", "native_symmetric")
        for bits in affine.BITS[rule == "native_symmetric" :]
    ],
)
def test_every_tie_of_the_native_rules(rule: str, bits: int, scale: int) -> None:
    """Halfway between all codes, in units of 2^-24 of either sign: the even code, which a bias would move."""
    top, half = 2**bits - 1, 2 ** (bits - 1)
    ties = range(-half + 1, half - 1) if rule == "native_symmetric" else range(top)
    even = [tie + (tie & 1) for tie in ties]
    if rule == "native_symmetric":  # codes count from the middle, the extremes are +-(half - 1)
        groups = [([half - 1], 0), ([1 - half], 0), ([half - 1, 1 - half], 0)]
        even = [code + half for code in even]
    else:
        groups = [([0, top], low) for low in (0, scale // 2, -scale * top, -scale * half)]
    for extremes, low in groups:
        units = [low + scale * extreme for extreme in extremes]
        units += [low + scale * tie + scale // 2 for tie in ties]
        x = (np.array([units]) * 2.0**-24).astype(np.float16)
        assert np.array_equal(x.astype(float) * 2.0**24, [units]), "all are float16 numbers"
        codes, step, _ = affine.quantize(x, bits, "token", None, rule)
        assert float(step[0, 0]) == scale * 2.0**-24
        assert codes[0, len(extremes) :].tolist() == even


def digit_recurrence(x: np.ndarray, bits: int) -> tuple[list[int], int, int]:
    """Codes, mantissa and exponent of ``native`` with no more than the widths that its docstring names."""
    top, kept = 2**bits - 1, bits + 13
    units = [int(Fraction(float(value)) * 2**24) for value in x.ravel()]
    low, extent = min(units), max(units) - min(units)
    assert abs(low) < 1 << 40
    assert extent < 1 << 41
    dropped = extent.bit_length() - kept
    leading = extent >> dropped if dropped > 0 else extent << -dropped
    assert leading < 1 << kept
    sticky = dropped > 0 and extent != leading << dropped
    k = 2 * bits + 13
    quotient = leading * -(-(1 << k) // top) >> k
    sticky |= quotient * top != leading
    exponent = max(dropped + quotient.bit_length() - 11, 0)
    shift = exponent - dropped
    mantissa, rest = quotient >> shift, quotient & (1 << shift) - 1
    above = rest > 1 << shift - 1 or (rest == 1 << shift - 1 and (sticky or mantissa & 1))
    mantissa += above
    if mantissa == 1 << 11:
        mantissa, exponent = 1 << 10, exponent + 1
    if mantissa == 0 and extent:
        mantissa = 1
    if mantissa << exponent > 65504 << 24:
        mantissa, exponent = 2047, 29
    codes = []
    for unit in units:
        whole = unit - low
        digits = whole >> exponent - 1 if exponent else whole << 1
        assert digits < 1 << kept
        rest_sticky = exponent > 1 and whole != digits << exponent - 1
        code = 0
        for place in reversed(range(bits)):
            step = mantissa << place + 1
            if digits >= step and mantissa:
                digits, code = digits - step, code | 1 << place
        up = digits > mantissa or (digits == mantissa and (rest_sticky or code & 1))
        codes.append(min(code + (up and mantissa > 0), top))
    return codes, mantissa, exponent


@given(
    st.lists(st.integers(0, 0x7BFF), min_size=16, max_size=16),
    st.integers(0, 2**16 - 1),
    st.sampled_from(affine.BITS),
    st.sampled_from([0x7BFF, 0x1FFF, 0x3FF, 0x1F]),
)
@settings(max_examples=300)
def test_native_in_the_widths_of_a_circuit(patterns: list[int], signs: int, bits: int, mask: int) -> None:
    words = [pattern & mask | (signs >> place & 1) << 15 for place, pattern in enumerate(patterns)]
    x = np.array([words], np.uint16).view(np.float16)
    codes, scale, zero = affine.quantize(x, bits, "token", None, "native")
    expected, mantissa, exponent = digit_recurrence(x, bits)
    assert fractions(scale) == [Fraction(mantissa << exponent, 2**24)]
    assert fractions(zero) == [min(fractions(x))]
    assert codes.ravel().tolist() == expected


@pytest.mark.parametrize("bits", affine.BITS)
def test_constant_reciprocal_divides_exactly(bits: int) -> None:
    top, k = 2**bits - 1, 2 * bits + 13
    leading = np.arange(1 << bits + 13, dtype=np.int64)
    np.testing.assert_array_equal(leading * -(-(1 << k) // top) >> k, leading // top)


def test_qserve_wraps_a_code_of_sixteen() -> None:
    """With a large offset the float16 zero is off by half a step or more, and nothing clamps at 15."""
    wrapped = []
    for start in range(3000, 3100, 4):
        x = np.linspace(start, start + 10, 32)[None].astype(np.float16)
        codes, _, _ = affine.quantize(x, 4, "token", None, "qserve")
        assert codes.ravel().tolist() == slow_group("qserve", fractions(x), 4)[0]
        wrapped.append(int(codes[0, -1]))
    assert 0 in wrapped


def codes_of_units(units: list[int], bits: int) -> list[int]:
    x = (np.array([units]) * 2.0**-24).astype(np.float16)
    codes, _, _ = affine.quantize(x, bits, "token", None, "qserve")
    assert codes.ravel().tolist() == slow_group("qserve", fractions(x), bits)[0]
    return codes.ravel().tolist()


def test_qserve_saturates_before_it_wraps() -> None:
    """Subnormal scales are off by up to a third, so that codes of groups far from zero leave a byte.

    Scales of 10/7 and 5/3 units are stored as 1 and 2: the first codes here are x - 7/10 * 840, the second
    x/2 - 3/5 * 600.
    """
    assert codes_of_units([*range(840, 851)], 3) == [code % 8 for code in (252, 253, 254, *[255] * 8)]
    assert codes_of_units([*range(600, 606)], 2) == [0] * 6  # -60 and up
    for bits in 2, 3, 4:
        top = 2**bits - 1
        far = [2000, 2000 + top + top // 3]
        assert codes_of_units(far, bits) == [top, top]  # 500 and more, which would wrap to other codes
