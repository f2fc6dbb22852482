"""Baselines: golden models against plain arithmetic and rationals, circuits against golden models."""

import random
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

from golden.baseline import (
    ant,
    ant_mac,
    ant_pe,
    fp16_int8_mac,
    fp16_mac,
    int8_mac,
    olive,
    olive_mac,
    olive_pe,
)
from hw import blocks
from hw.baseline.float_mac import SLOTS
from hw.config import preset
from sim import runner
from sim.benches.baseline import ant_mac as ant_bench
from sim.benches.baseline import fp16_int8_mac as int8_bench
from sim.benches.baseline import fp16_mac as fp16_bench
from sim.benches.baseline import olive_mac as olive_bench
from sim.benches.baseline.halves import operations
from sim.benches.baseline.sums import Operation

RationalSum = Callable[[int, float, float], int]

FLINT4 = (0, 1, 2, 3, 4, 6, 8, 16)
ABFLOAT = (0, 12, 16, 24, 32, 48, 64, 96)


def half_value(bits: int) -> float:
    return float(np.uint16(bits).view(np.float16))


def ant_value(code: int, flint: int) -> int:
    if flint:
        return -FLINT4[code & 7] if code & 8 else FLINT4[code]
    return int(np.uint8(code).astype(ml_dtypes.int4))


def olive_value(pair: int, second: int) -> int:
    code, partner = (pair >> 4, pair & 15) if second else (pair & 15, pair >> 4)
    if code == 8:
        return 0
    if partner == 8:
        return -ABFLOAT[code & 7] if code & 8 else ABFLOAT[code]
    return int(np.uint8(code).astype(ml_dtypes.int4))


@pytest.mark.quick
def test_int8_sums_wrap_like_numpy() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.integers(-128, 128, (2, 5000)).astype(np.int32)
    acc, total = (1 << 31) - 1, np.int32((1 << 31) - 1)
    for x, y in zip(a, b, strict=True):
        acc = int8_mac.accumulate(acc, int(x), int(y))
        with np.errstate(over="ignore"):
            total += x * y
        assert acc == total
    assert int8_mac.accumulate((1 << 31) - 1, 1, 1) == -(1 << 31)


@pytest.mark.quick
def test_every_ant_product() -> None:
    for a, b in np.ndindex(16, 16):
        for types in np.ndindex(2, 2):
            expected = 5 + ant_value(a, types[0]) * ant_value(b, types[1])
            assert ant_pe.accumulate(5, a, b, *types) == expected


@pytest.mark.quick
def test_every_olive_product() -> None:
    values = [[olive_value(pair, second) for second in (0, 1)] for pair in range(256)]
    for a, b in np.ndindex(256, 256):
        expected = values[a][0] * values[b][0] + values[a][1] * values[b][1] - 7
        assert olive_pe.accumulate(-7, a, b) == expected


class FloatSum(NamedTuple):
    """A unit with FP32 sums: its golden model, random operations, and what the operands after ``a`` mean."""

    accumulate: Callable[..., int]
    operations: Callable[[int], Iterable[Operation]]
    value: Callable[..., float]


FLOAT_SUMS = {
    "fp16": FloatSum(fp16_mac.accumulate, fp16_bench.operations, half_value),
    "int8": FloatSum(fp16_int8_mac.accumulate, partial(operations, weight=int8_bench.weight), float),
    "ant": FloatSum(ant_mac.accumulate, partial(operations, weight=ant_bench.weight), ant_value),
    "olive": FloatSum(olive_mac.accumulate, partial(operations, weight=olive_bench.weight), olive_value),
}


@pytest.mark.quick
@pytest.mark.parametrize("unit", FLOAT_SUMS)
def test_fp32_sums_match_rationals(unit: str, rational_sum: RationalSum) -> None:
    random.seed(22)
    accumulate, random_operations, value = FLOAT_SUMS[unit]
    sums = [0] * SLOTS
    for index, (kind, (a, *weight), first) in enumerate(random_operations(15_000)):
        slot = index % len(sums)
        before = 0 if first else sums[slot]
        sums[slot] = accumulate(before, a, *weight)
        expected = rational_sum(before, half_value(a), value(*weight))
        assert sums[slot] == expected, (kind, hex(before), hex(a), weight)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("golden", "highest"), [(fp16_mac, None), (fp16_int8_mac, 128)], ids=["fp16", "int8"]
)
def test_dot_is_repeated_accumulation(golden: ModuleType, highest: int | None) -> None:
    """Weights are float16, or integers below ``highest`` in magnitude."""
    generator = np.random.default_rng(3)
    a = generator.normal(size=(4, 33)).astype(np.float16)
    b = generator.normal(size=(4, 33)).astype(np.float16)
    weights = b.view(np.uint16)
    if highest:
        b = weights = generator.integers(-highest, highest, (4, 33)).astype(np.int8)
    expected = []
    for row_a, row_b in zip(a.view(np.uint16).tolist(), weights.tolist(), strict=True):
        acc = 0
        for x, y in zip(row_a, row_b, strict=True):
            acc = golden.accumulate(acc, x, y)
        expected.append(acc)
    assert golden.dot(a, b).view(np.uint32).tolist() == expected
    with pytest.raises(ValueError, match="different shapes"):
        golden.dot(a, b[:2])


@pytest.mark.quick
def test_golden_models_agree_on_codes() -> None:
    assert all(ant_value(c, f) == ant.INTEGERS[ant.ADAPTIVE[4][f]][c] for c in range(16) for f in (0, 1))
    pairs = np.array([(pair & 15, pair >> 4) for pair in range(256)])
    assert olive.decode_pairs(pairs).tolist() == [[olive_value(p, 0), olive_value(p, 1)] for p in range(256)]


@pytest.mark.parametrize("unit", blocks.baselines())
def test_circuit(unit: str, simulator: str) -> None:
    many = simulator == "verilator"
    amount = {"operations": 30_000 if many else 2_000, "groups": 1_000 if many else 150}
    chosen = None if many else r"^(?!.*(wrap|every_distance))"  # the longest ones
    runner.run(blocks.get(unit)(preset("tiny")), f"sim.benches.baseline.{unit}", simulator, amount, chosen)
