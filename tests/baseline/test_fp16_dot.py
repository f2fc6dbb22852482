"""FP16 dot product: golden model against exact rationals and float64, circuit against golden model."""

import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest

from golden.baseline import fp16_dot as golden
from golden.baseline import fp16_mac
from hw.baseline.fp16_dot import Fp16Dot
from sim import runner
from sim.benches.baseline import fp16_dot as bench


def half(bits: int) -> float:
    return float(np.uint16(bits).view(np.float16))


def single(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


def exponent(value: float) -> int:
    """Of the number's format: -14 for subnormal numbers and zero."""
    return max(math.frexp(value)[1] - 1, -14) if value else -14


def towards_zero(value: Fraction, unit: Fraction) -> Fraction:
    steps = abs(value) / unit
    return (steps.numerator // steps.denominator) * (unit if value > 0 else -unit)


def windowed(a: Sequence[float], b: Sequence[float], window: int) -> Fraction:
    """The sum that enters the accumulator, from the three rules in rationals."""
    largest = max(exponent(x) + exponent(y) for x, y in zip(a, b, strict=True))
    unit = Fraction(2) ** (largest + 2 - window)
    total = sum(
        (towards_zero(Fraction(x) * Fraction(y), unit) for x, y in zip(a, b, strict=True)), Fraction(0)
    )
    if not total:
        return total
    top = abs(total).numerator.bit_length() - total.denominator.bit_length()
    top += 0 if abs(total) >= Fraction(2) ** top else -1
    return towards_zero(total, Fraction(2) ** (top - 23))


@pytest.mark.quick
@pytest.mark.parametrize("window", [22, golden.WINDOW, 32])
def test_every_sum_matches_rationals(window: int, rational_sum: Callable[[int, float, float], int]) -> None:
    random.seed(23)
    accumulators = [0] * bench.SLOTS
    for index, (kind, (a, b), first) in enumerate(bench.operations(2_000)):
        slot = index % bench.SLOTS
        before = 0 if first else accumulators[slot]
        accumulators[slot] = golden.accumulate(before, a, b, window)
        x, y = [half(bits) for bits in a], [half(bits) for bits in b]
        if not np.isfinite([*x, *y, single(before)]).all():
            assert accumulators[slot] == golden.NAN
            continue
        expected = rational_sum(before, float(windowed(x, y, window)), 1.0)
        assert accumulators[slot] == expected, (kind, hex(before), a, b)


@pytest.mark.quick
def test_sums_stay_within_what_is_dropped() -> None:
    """Against exact sums: a unit of the window from each product, of 24 bits from the sum, half of FP32's."""
    random.seed(24)
    for _, (a, b), _ in bench.operations(1_000):
        if any(bits & 0x7C00 == 0x7C00 for bits in (*a, *b)):
            continue
        x, y = [half(bits) for bits in a], [half(bits) for bits in b]
        exact = sum(Fraction(p) * Fraction(q) for p, q in zip(x, y, strict=True))
        got = Fraction(single(golden.accumulate(0, a, b)))
        largest = max(exponent(p) + exponent(q) for p, q in zip(x, y, strict=True))
        dropped = golden.LANES * Fraction(2) ** (largest + 2 - golden.WINDOW)
        assert abs(got - exact) <= dropped + (abs(exact) + dropped) / 2**23


@pytest.mark.quick
def test_exact_where_nothing_is_dropped() -> None:
    """Products of one exponent, and integers, as in float64."""
    generator = np.random.default_rng(25)
    a = generator.integers(-16, 17, (20, 96)).astype(np.float16)
    b = generator.integers(-16, 17, (20, 96)).astype(np.float16)
    assert (golden.dot(a, b) == (a.astype(np.float64) * b.astype(np.float64)).sum(axis=-1)).all()
    assert golden.dot(a[:, :5], b[:, :5]).tolist() == (a[:, :5] * b[:, :5]).sum(axis=-1).tolist()


@pytest.mark.quick
def test_no_less_accurate_than_the_sum_of_single_products() -> None:
    """Relative error of products of 512 normal numbers, against float64: the window is wide enough."""
    generator = np.random.default_rng(26)
    a, b = generator.standard_normal((2, 120, 512)).astype(np.float16)
    exact = (a.astype(np.float64) * b.astype(np.float64)).sum(axis=-1)

    def error(found: np.ndarray) -> float:
        return float(np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean()))

    assert error(golden.dot(a, b)) < error(fp16_mac.dot(a, b)) < error(golden.dot(a, b, window=22))


@pytest.mark.quick
def test_growth_stops_before_overflow() -> None:
    top = int(np.float32(2.0**60).view(np.uint32))
    largest = [0x7BFF] * golden.LANES
    assert golden.accumulate(top, largest, largest) == top
    assert golden.accumulate(top - 1, largest, largest) == top


@pytest.mark.quick
def test_special_operands_stay_until_a_restart() -> None:
    ones, zeros = [0x3C00] * golden.LANES, [0] * golden.LANES
    for special in (0x7C00, 0xFC00, 0x7E01, 0xFFFF):
        given = [*zeros[1:], special]
        for a, b in ((given, ones), (ones, given), (given, zeros)):
            assert golden.accumulate(0, a, b) == golden.NAN
    assert golden.accumulate(golden.NAN, ones, ones) == golden.NAN
    assert single(golden.accumulate(0, ones, ones)) == golden.LANES


@pytest.mark.quick
def test_refuses_what_is_no_vector() -> None:
    ones = [0x3C00] * golden.LANES
    with pytest.raises(ValueError, match=r"^a and b must have 16 numbers, got 15 and 16$"):
        golden.accumulate(0, ones[1:], ones)
    with pytest.raises(ValueError, match=r"^window must be at least 22 bits, got 21$"):
        golden.accumulate(0, ones, ones, 21)
    with pytest.raises(ValueError, match=r"different shapes"):
        golden.dot(np.zeros(16), np.zeros((1, 16)))


@pytest.mark.long
def test_many_operations() -> None:
    """``test_baseline_units`` runs fewer, on both simulators."""
    runner.run(Fp16Dot(), "sim.benches.baseline.fp16_dot", "verilator", parameters={"operations": 40_000})
