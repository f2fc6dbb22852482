"""OliVe's processing element: all pairs of pairs."""

import random
from typing import Any

import cocotb

from golden.baseline import olive
from golden.baseline import olive_pe as golden
from hw.baseline.olive_pe import LATENCY
from sim.benches.baseline import sums
from sim.benches.baseline.sums import Operation
from sim.coverage import Coverage

FORMS = ("normal", "first", "second", "victims")

results = Coverage("olive_pe", {"a": FORMS, "b": FORMS})


def form(pair: int) -> str:
    """Where the outlier of a pair is."""
    return FORMS[(pair >> 4 == olive.VICTIM) + 2 * (pair & 15 == olive.VICTIM)]


@cocotb.test()
async def every_product_is_exact(dut: Any) -> None:
    """All operands in random order, in sums of random lengths."""
    operands = [(a, b) for a in range(256) for b in range(256)]
    random.shuffle(operands)
    given: list[Operation] = [
        (f"{form(a)} x {form(b)}", (a, b), index == 0 or random.random() < 0.1)
        for index, (a, b) in enumerate(operands)
    ]

    def hit(kind: str, total: int) -> None:
        a, b = kind.split(" x ")
        results.hit(a=a, b=b)

    await sums.check(dut, ("a", "b"), given, golden.accumulate, hit, LATENCY)


@cocotb.test()
async def sums_wrap(dut: Any) -> None:
    """Past the positive end of 32 bits and back, by outlier times outlier."""
    steps = (1 << 31) // 96**2 + 2
    given: list[Operation] = [("wrap", (0x87, 0x87), index == 0) for index in range(steps)]
    given += [("wrap", (0x87, 0x8F), False) for _ in range(8)]
    await sums.check(dut, ("a", "b"), given, golden.accumulate, lambda *_: None, LATENCY)
