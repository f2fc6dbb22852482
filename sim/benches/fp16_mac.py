"""FP16 multiply-accumulate: every sum, in both slots, equals the golden model's bits."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb

from golden.baseline import fp16_mac as golden
from hw.baseline.fp16_mac import LATENCY, SLOTS
from sim import context
from sim.coverage import Coverage
from sim.streams import Domain, reset

SPECIALS = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0xFC01)
EDGES = (0x000, 0x001, 0x155, 0x200, 0x3FE, 0x3FF)

KINDS = ("any", "middle", "edges", "subnormal", "subnormal_times_large", "mixed", "cancel", "special", "idle")
RESULTS = ("zero", "finite", "infinity", "nan")

kinds = Coverage("fp16_mac_kinds", {"kind": KINDS})
results = Coverage("fp16_mac_results", {"result": RESULTS})

Operation = tuple[int, int, int]


def number(low: int, high: int) -> int:
    """Random FP16 bits with an exponent field from ``low`` to ``high``."""
    fraction = random.choice(
        (random.getrandbits(10), random.choice(EDGES), random.getrandbits(10) >> random.randrange(10))
    )
    return random.getrandbits(1) << 15 | random.randint(low, high) << 10 | fraction


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


def operations(count: int) -> Iterator[tuple[str, Operation]]:
    """Random sums of 1 to 60 terms in every slot, mostly of one kind: kind and (a, b, first)."""
    left, styles, before = [0] * SLOTS, ["any"] * SLOTS, [(0, 0)] * SLOTS
    for index in range(count):
        slot = index % SLOTS
        first = left[slot] == 0
        if first:
            left[slot] = random.choice((1, 2, 5, 20, 60))
            styles[slot] = random.choice(KINDS)
        left[slot] -= 1
        kind = styles[slot] if random.random() < 0.9 else random.choice(("mixed", "idle", "cancel"))
        before[slot] = operands(kind, before[slot])
        yield kind, (*before[slot], int(first))


def result_class(bits: int) -> str:
    """Coverage bin of an FP32 result."""
    magnitude = bits & 0x7FFFFFFF
    if magnitude < 0x7F800000:
        return "finite" if magnitude else "zero"
    return "infinity" if magnitude == 0x7F800000 else "nan"


class Checker:
    """Gives one operation a cycle and compares each sum LATENCY cycles later."""

    def __init__(self, domain: Domain, given: list[tuple[str, Operation]]) -> None:
        self.checked = 0
        self._domain = domain
        self._given = given
        self._next = 0
        self._accumulators = [0] * SLOTS
        self._write = [domain.writer(name) for name in ("a", "b", "first")]
        self._read = domain.reader("acc")
        domain.add(self)

    def step(self) -> None:
        done = self._next - LATENCY - 1
        if 0 <= done < len(self._given):
            self._check(done)
        values = self._given[self._next][1] if self._next < len(self._given) else (0, 0, 0)
        for write, value in zip(self._write, values, strict=True):
            write(value)
        self._next += 1

    def _check(self, index: int) -> None:
        kind, (a, b, first) = self._given[index]
        slot = index % SLOTS
        before = 0 if first else self._accumulators[slot]
        expected = self._accumulators[slot] = golden.accumulate(before, a, b)
        got = self._read()
        assert got == expected, (
            f"operation {index} ({kind}, slot {slot}): {before:#010x} + {a:#06x} * {b:#06x}"
            f" = {expected:#010x}, got {got:#010x}"
        )
        kinds.hit(kind=kind)
        results.hit(result=result_class(expected))
        self.checked += 1

    def restart(self) -> None:
        self._next = 0

    def status(self) -> str:
        return f"{self.checked} of {len(self._given)} sums checked"


async def check(dut: Any, given: list[tuple[str, Operation]]) -> None:
    domain = await reset(dut, cycle_limit=len(given) + 100)
    checker = Checker(domain, given)
    await domain.cycles(len(given) + LATENCY + 3)
    assert checker.checked == len(given)


@cocotb.test()
async def every_sum_is_exact(dut: Any) -> None:
    await check(dut, list(operations(context.parameters().get("operations", 20_000))))


@cocotb.test()
async def specials_meet(dut: Any) -> None:
    """Each pair of special operands on top of each kind of accumulator, in both slots."""
    starts = [(0x0000, 0x0000), (0x7C00, 0x3C00), (0xFC00, 0x3C00), (0x7E01, 0x3C00), (0x4248, 0xC0DE)]
    given: list[tuple[str, Operation]] = []
    for a in SPECIALS:
        for b in SPECIALS:
            for start in starts:
                given += [("special", (*start, 1))] * SLOTS + [("special", (a, b, 0))] * SLOTS
    await check(dut, given)
