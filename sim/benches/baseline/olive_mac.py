"""FP16 x OliVe code multiply-accumulate: every sum, in both slots, equals the golden model's bits."""

import random
from typing import Any

import cocotb

from golden.baseline import olive_mac as golden
from sim import context
from sim.benches.baseline.halves import FloatSums, operations, selected_codes

sums = FloatSums("olive_mac", ("a", "b", "second"), golden.accumulate)


def weight() -> tuple[int, int]:
    """Random weight and select."""
    return random.choice(
        (random.getrandbits(8), 0x80 | random.getrandbits(4), 0x08 | random.getrandbits(4) << 4)
    ), random.getrandbits(1)


@cocotb.test()
async def every_sum_is_exact(dut: Any) -> None:
    await sums.check(dut, list(operations(context.parameters().get("operations", 20_000), weight)))


@cocotb.test()
async def every_weight_meets(dut: Any) -> None:
    """Each weight with special, subnormal and ordinary activations, alone and on top of a sum."""
    await sums.check(dut, selected_codes(256))
