"""FP16 x INT8 multiply-accumulate: golden model against exact rationals, circuit against golden model."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from golden.baseline import fp16_int8_mac as golden
from hw.baseline.fp16_int8_mac import Fp16Int8Mac
from sim import runner
from sim.benches.baseline import fp16_int8_mac as bench
from sim.benches.baseline.halves import operations


def half(bits: int) -> float:
    return float(np.uint16(bits).view(np.float16))


def single(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


@pytest.mark.quick
def test_every_sum_matches_rationals(rational_sum: Callable[[int, float, float], int]) -> None:
    random.seed(21)
    accumulators = [0] * bench.SLOTS
    for index, (kind, (a, b), first) in enumerate(operations(20_000, bench.weight)):
        slot = index % bench.SLOTS
        before = 0 if first else accumulators[slot]
        accumulators[slot] = golden.accumulate(before, a, b)
        assert accumulators[slot] == rational_sum(before, half(a), b), (kind, hex(before), hex(a), b)


@pytest.mark.quick
def test_every_product_is_exact() -> None:
    """All weights and all finite activations with a few fractions, in float64."""
    fractions = (0, 1, 0x155, 0x3FF)
    for b in range(-128, 128):
        for a in (exponent << 10 | fraction for exponent in range(31) for fraction in fractions):
            assert single(golden.accumulate(0, a, b)) == half(a) * b


@pytest.mark.quick
def test_one_rounding_not_two() -> None:
    """Just above a tie, exactly on it, just below it."""
    start = golden.accumulate(0, 0x3C00, 1)
    for a, b, expected in (
        (0x0001, 1, 1.0),  # 2**-24: a tie, to even
        (0x0001, 2, 1 + 2**-23),
        (0x0003, 1, 1 + 2**-22),  # a tie, to even
        (0x8001, 1, 1 - 2**-24),  # exact below 1
    ):
        assert single(golden.accumulate(start, a, b)) == expected


@pytest.mark.quick
def test_growth_stops_before_overflow() -> None:
    """From 2**47 on, the largest product is below half a last place."""
    top = int(np.float32(2.0**47).view(np.uint32))
    assert golden.accumulate(top, 0x7BFF, 127) == top
    assert golden.accumulate(top, 0xFBFF, -128) == top


@pytest.mark.quick
def test_weights_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^b must be -128\.\.127, got 128$"):
        golden.accumulate(0, 0x3C00, 128)


@pytest.mark.quick
def test_dot_is_repeated_accumulation() -> None:
    generator = np.random.default_rng(4)
    a = generator.normal(size=(3, 33)).astype(np.float16)
    b = generator.integers(-128, 128, (3, 33)).astype(np.int8)
    expected = []
    for row_a, row_b in zip(a, b, strict=True):
        acc = 0
        for x, y in zip(row_a, row_b, strict=True):
            acc = golden.accumulate(acc, int(x.view(np.uint16)), int(y))
        expected.append(acc)
    assert golden.dot(a, b).view(np.uint32).tolist() == expected


def test_circuit(simulator: str) -> None:
    count = 120_000 if simulator == "verilator" else 20_000
    runner.run(
        Fp16Int8Mac(), "sim.benches.baseline.fp16_int8_mac", simulator, parameters={"operations": count}
    )
