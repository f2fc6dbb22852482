"""FP16 multiply-accumulate: golden model against exact rationals, circuit against golden model."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from golden.baseline import fp16_mac as golden
from hw.baseline.fp16_mac import Fp16Mac
from sim import runner
from sim.benches.baseline import fp16_mac as bench


def half(bits: int) -> np.float16:
    return np.uint16(bits).view(np.float16)


def single(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


@pytest.mark.quick
def test_every_sum_matches_rationals(rational_sum: Callable[[int, float, float], int]) -> None:
    random.seed(20)
    accumulators = [0] * bench.SLOTS
    for index, (kind, (a, b), first) in enumerate(bench.operations(20_000)):
        slot = index % bench.SLOTS
        before = 0 if first else accumulators[slot]
        accumulators[slot] = golden.accumulate(before, a, b)
        expected = rational_sum(before, float(half(a)), float(half(b)))
        assert accumulators[slot] == expected, (kind, hex(before), hex(a), hex(b))


@pytest.mark.quick
def test_one_rounding_not_two() -> None:
    """Just above a tie, exactly on it, just below it: decided by product bits far below the last place."""
    one = golden.accumulate(0, 0x3C00, 0x3C00)
    assert single(golden.accumulate(one, 0x0C00, 0x0C00)) == 1.0  # 2**-24: a tie, to even
    assert single(golden.accumulate(one, 0x0C01, 0x0C00)) == np.nextafter(np.float32(1), np.float32(2))
    assert single(golden.accumulate(one, 0x8C00, 0x0801)) == np.nextafter(np.float32(1), np.float32(0))


@pytest.mark.quick
def test_growth_stops_before_overflow() -> None:
    """From 2**56 on, the largest product is at most half a last place, and 2**56 is even."""
    top = int(np.float32(2.0**56).view(np.uint32))
    assert golden.accumulate(top, 0x7BFF, 0x7BFF) == top
    below = golden.accumulate(top - 1, 0x7BFF, 0x7BFF)
    assert below == top


@pytest.mark.quick
def test_smallest_sums_are_normal() -> None:
    smallest = golden.accumulate(0, 0x0001, 0x0001)
    assert single(smallest) == 2.0**golden.UNIT
    assert golden.accumulate(smallest, 0x8001, 0x0001) == 0


@pytest.mark.quick
def test_rejects_accumulators_that_cannot_occur() -> None:
    with pytest.raises(ValueError, match=r"^acc 0x00000001 is not a multiple of 2\*\*-48$"):
        golden.accumulate(1, 0x3C00, 0x3C00)


@pytest.mark.quick
def test_dot_is_repeated_accumulation() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(2, 4, 33)).astype(np.float16)
    expected = []
    for row_a, row_b in zip(a, b, strict=True):
        acc = 0
        for x, y in zip(row_a, row_b, strict=True):
            acc = golden.accumulate(acc, int(x.view(np.uint16)), int(y.view(np.uint16)))
        expected.append(acc)
    assert golden.dot(a, b).view(np.uint32).tolist() == expected
    with pytest.raises(ValueError, match="different shapes"):
        golden.dot(a, b[:2])


def test_circuit(simulator: str) -> None:
    count = 120_000 if simulator == "verilator" else 20_000
    runner.run(Fp16Mac(), "sim.benches.baseline.fp16_mac", simulator, parameters={"operations": count})
