"""INT8 multiply-accumulate: all pairs of operands, and sums that wrap."""

import random
from typing import Any

import cocotb

from golden.baseline import int8_mac as golden
from hw.baseline.int8_mac import LATENCY
from sim.benches.baseline import sums
from sim.benches.baseline.sums import Operation
from sim.coverage import Coverage

KINDS = ("pairs", "growing", "wrapping")

results = Coverage("int8_mac", {"kind": KINDS, "negative": (False, True)})


async def check(dut: Any, given: list[Operation]) -> None:
    def hit(kind: str, total: int) -> None:
        results.hit(kind=kind, negative=total < 0)

    await sums.check(dut, ("a", "b"), given, golden.accumulate, hit, LATENCY)


@cocotb.test()
async def every_product_is_exact(dut: Any) -> None:
    """All pairs in random order, in sums of random lengths."""
    pairs = [(a, b) for a in range(-128, 128) for b in range(-128, 128)]
    random.shuffle(pairs)
    await check(
        dut, [("pairs", pair, index == 0 or random.random() < 0.1) for index, pair in enumerate(pairs)]
    )


@cocotb.test()
async def sums_grow(dut: Any) -> None:
    """One sign for a thousand terms, then the other: long carries both ways."""
    given: list[Operation] = [("growing", (0, 0), True)]
    for index in range(8_000):
        a, b = random.choice((1, 2, 127, -128)), random.choice((1, 127))
        given.append(("growing", (a, b if index // 1000 % 2 else -b), False))
    await check(dut, given)


@cocotb.test()
async def sums_wrap(dut: Any) -> None:
    """Past both ends of 32 bits; the longest run is 2**31 / 2**14 products."""
    up: list[Operation] = [("wrapping", (-128, -128), index == 0) for index in range((1 << 17) + 2)]
    down: list[Operation] = [("wrapping", (127, -128), False) for _ in range(8)]
    await check(dut, up + down)
