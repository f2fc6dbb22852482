"""ANT's processing element: all operands with all selects, in every order of restarts."""

import itertools
import random
from typing import Any

import cocotb

from golden.baseline import ant_pe as golden
from hw.baseline.ant_pe import LATENCY
from sim.benches.baseline import sums
from sim.benches.baseline.sums import Operation
from sim.coverage import Coverage

TYPES = ("int4 x int4", "int4 x flint4", "flint4 x int4", "flint4 x flint4")

results = Coverage("ant_pe", {"types": TYPES, "negative": (False, True)})


@cocotb.test()
async def every_product_is_exact(dut: Any) -> None:
    operands = list(itertools.product(range(16), range(16), (0, 1), (0, 1)))
    given: list[Operation] = []
    for restart in (1.0, *(0.1,) * 20):
        random.shuffle(operands)
        for x in operands:
            first = not given or random.random() < restart
            given.append((TYPES[2 * x[2] + x[3]], x, first))

    def hit(kind: str, total: int) -> None:
        results.hit(types=kind, negative=total < 0)

    await sums.check(dut, ("a", "b", "a_flint", "b_flint"), given, golden.accumulate, hit, LATENCY)


@cocotb.test()
async def sums_wrap(dut: Any) -> None:
    """Steps of 256 from a sum of every width, then back: carries through all 32 bits."""
    given: list[Operation] = [(TYPES[3], (7, 7, 1, 1), index == 0) for index in range(1 << 12)]
    given += [(TYPES[3], (7, 15, 1, 1), False) for _ in range((1 << 12) + 4)]
    await sums.check(
        dut, ("a", "b", "a_flint", "b_flint"), given, golden.accumulate, lambda *_: None, LATENCY
    )
