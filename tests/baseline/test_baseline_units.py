"""Baselines with decoders and with integer sums: golden models against plain arithmetic, then circuits."""

import random
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from amaranth.lib import wiring

from golden.baseline import ant, ant_mac, ant_pe, int8_mac, olive, olive_mac, olive_pe
from hw.baseline.ant_mac import AntMac
from hw.baseline.ant_pe import AntPe
from hw.baseline.fp32_sum import SLOTS
from hw.baseline.int8_mac import Int8Mac
from hw.baseline.olive_mac import OliveMac
from hw.baseline.olive_pe import OlivePe
from sim import runner
from sim.benches.baseline import ant_mac as ant_bench
from sim.benches.baseline import olive_mac as olive_bench
from sim.benches.baseline.halves import operations

RationalSum = Callable[[int, float, float], int]

FLINT4 = (0, 1, 2, 3, 4, 6, 8, 16)
ABFLOAT = (0, 12, 16, 24, 32, 48, 64, 96)


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


@pytest.mark.quick
@pytest.mark.parametrize(
    ("accumulate", "value", "weight"),
    [
        (ant_mac.accumulate, ant_value, ant_bench.weight),
        (olive_mac.accumulate, olive_value, olive_bench.weight),
    ],
    ids=["ant", "olive"],
)
def test_fp16_sums_match_rationals(
    accumulate: Callable[..., int],
    value: Callable[[int, int], int],
    weight: Callable[[], tuple[int, int]],
    rational_sum: RationalSum,
) -> None:
    random.seed(22)
    sums = [0] * SLOTS
    for index, (kind, (a, b, select), first) in enumerate(operations(10_000, weight)):
        slot = index % len(sums)
        before = 0 if first else sums[slot]
        sums[slot] = accumulate(before, a, b, select)
        expected = rational_sum(before, float(np.uint16(a).view(np.float16)), value(b, select))
        assert sums[slot] == expected, (kind, hex(before), hex(a), b, select)


@pytest.mark.quick
def test_golden_models_agree_on_codes() -> None:
    assert all(ant_value(c, f) == ant.INTEGERS[ant.ADAPTIVE[4][f]][c] for c in range(16) for f in (0, 1))
    pairs = np.array([(pair & 15, pair >> 4) for pair in range(256)])
    assert olive.decode_pairs(pairs).tolist() == [[olive_value(p, 0), olive_value(p, 1)] for p in range(256)]


@pytest.mark.parametrize("component", [Int8Mac, AntPe, AntMac, OlivePe, OliveMac])
def test_circuit(component: type[wiring.Component], simulator: str) -> None:
    bench = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in component.__name__)[1:]
    count = 120_000 if simulator == "verilator" else 20_000
    runner.run(component(), f"sim.benches.baseline.{bench}", simulator, parameters={"operations": count})
