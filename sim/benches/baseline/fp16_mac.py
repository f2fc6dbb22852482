"""FP16 multiply-accumulate: every sum, in both slots, equals the golden model's bits."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb

from golden.baseline import fp16_mac as golden
from hw.baseline.fp16_mac import SLOTS
from sim import context
from sim.benches.baseline.halves import EDGES, SPECIALS, FloatSums, number, styles
from sim.benches.baseline.sums import Operation

KINDS = ("any", "middle", "edges", "subnormal", "subnormal_times_large", "mixed", "cancel", "special", "idle")

sums = FloatSums("fp16_mac", ("a", "b"), golden.accumulate, KINDS)


def operands(kind: str, before: tuple[int, int]) -> tuple[int, int]:
    """Random operands of a kind; those of the slot's last sum are known."""
    match kind:
        case "any":
            return random.getrandbits(16), random.getrandbits(16)
        case "middle":
            return number(10, 20), number(10, 20)
        case "edges":
            return number(1, 30) & ~0x3FF | random.choice(EDGES), number(1, 30) & ~0x3FF | random.choice(
                EDGES
            )
        case "subnormal":
            return number(0, 0), number(0, 2)
        case "subnormal_times_large":
            pair = number(0, 0), number(random.choice((14, 24)), 30)
            return pair if random.random() < 0.5 else pair[::-1]
        case "mixed":
            return number(*random.choice(((0, 0), (1, 30), (24, 30)))), number(
                *random.choice(((0, 0), (1, 30)))
            )
        case "cancel":
            if random.random() < 0.6:
                a, b = before
                return a ^ 0x8000 ^ random.choice((0, 0, 1, 2)), b ^ random.choice(
                    (0, 0, 1 << random.randrange(15))
                )
            return number(0, 30), number(8, 20)
        case "special":
            return random.choice(SPECIALS), random.choice((random.choice(SPECIALS), number(0, 30)))
        case _:
            return 0, 0


def operations(count: int) -> Iterator[Operation]:
    """Random sums of 1 to 60 terms in every slot, mostly of one kind."""
    before = [(0, 0)] * SLOTS
    for slot, kind, first in styles(count, KINDS):
        before[slot] = operands(kind, before[slot])
        yield kind, before[slot], first


@cocotb.test()
async def every_sum_is_exact(dut: Any) -> None:
    await sums.check(dut, list(operations(context.parameters().get("operations", 20_000))))


@cocotb.test()
async def specials_meet(dut: Any) -> None:
    """Each pair of special operands on top of each kind of accumulator, in both slots."""
    starts = [(0x0000, 0x0000), (0x7C00, 0x3C00), (0xFC00, 0x3C00), (0x7E01, 0x3C00), (0x4248, 0xC0DE)]
    given: list[Operation] = []
    for a in SPECIALS:
        for b in SPECIALS:
            for start in starts:
                given += [("special", start, True)] * SLOTS + [("special", (a, b), False)] * SLOTS
    await sums.check(dut, given)
