"""FP16 x INT8 multiply-accumulate: every sum, in both slots, equals the golden model's bits."""

import random
from typing import Any

import cocotb

from golden.baseline import fp16_int8_mac as golden
from hw.baseline.fp16_int8_mac import SLOTS
from sim import context
from sim.benches.baseline.halves import SPECIALS, FloatSums, number, operations
from sim.benches.baseline.sums import Operation

sums = FloatSums("fp16_int8_mac", ("a", "b"), golden.accumulate)

WEIGHTS = (0, 1, -1, 2, 7, 8, 15, 16, 17, -15, -16, -17, 31, 32, 63, 64, -64, -65, 127, -127, -128)


def weight() -> tuple[int]:
    """Random INT8, small and extreme ones as often as any."""
    any_one = random.randint(-128, 127)
    return (random.choice((any_one, random.choice(WEIGHTS), any_one >> random.randrange(8))),)


@cocotb.test()
async def every_sum_is_exact(dut: Any) -> None:
    await sums.check(dut, list(operations(context.parameters().get("operations", 20_000), weight)))


@cocotb.test()
async def every_weight_and_exponent_meet(dut: Any) -> None:
    """Each weight with each exponent, alone and on top of a sum that it moves or barely moves."""
    given: list[Operation] = []
    for b in range(-128, 128):
        for exponent in range(32):
            alone = exponent << 10 | random.choice((0, 1, 0x3FF)), b
            given += [("edges", alone, True)] * SLOTS
            start = random.randrange(31) << 10 | random.getrandbits(10), random.choice((1, 127, -128))
            given += [("mixed", start, True)] * SLOTS
            given += [("mixed", (number(exponent, exponent), b), False)] * SLOTS
    await sums.check(dut, given)


@cocotb.test()
async def specials_meet(dut: Any) -> None:
    """Special activations with weights of every sign on top of each kind of accumulator, in both slots."""
    starts = [(0x0000, 0), (0x7C00, 1), (0xFC00, 1), (0x7E01, 1), (0x4248, -99)]
    given: list[Operation] = []
    for a in SPECIALS:
        for b in WEIGHTS:
            for start in starts:
                given += [("special", start, True)] * SLOTS + [("special", (a, b), False)] * SLOTS
    await sums.check(dut, given)
