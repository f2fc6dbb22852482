"""FP16 operands for the benches of units that accumulate in FP32, and the classes of their results."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hw.baseline.fp32_sum import LATENCY, SLOTS
from sim.benches.baseline import sums
from sim.benches.baseline.sums import Operation
from sim.coverage import Coverage

__all__ = [
    "ACTIVATION_KINDS",
    "EDGES",
    "RESULTS",
    "SPECIALS",
    "FloatSums",
    "activation",
    "number",
    "operations",
    "result_class",
    "selected_codes",
    "styles",
]

SPECIALS = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0xFC01)
EDGES = (0x000, 0x001, 0x155, 0x200, 0x3FE, 0x3FF)

RESULTS = ("zero", "finite", "infinity", "nan")
ACTIVATION_KINDS = (
    "any",
    "middle",
    "edges",
    "subnormal",
    "tiny_on_large",
    "mixed",
    "cancel",
    "special",
    "idle",
)


def number(low: int, high: int) -> int:
    """Random FP16 bits with an exponent field from ``low`` to ``high``."""
    fraction = random.choice(
        (random.getrandbits(10), random.choice(EDGES), random.getrandbits(10) >> random.randrange(10))
    )
    return random.getrandbits(1) << 15 | random.randint(low, high) << 10 | fraction


def result_class(bits: int) -> str:
    """Coverage bin of an FP32 result."""
    magnitude = bits & 0x7FFFFFFF
    if magnitude < 0x7F800000:
        return "finite" if magnitude else "zero"
    return "infinity" if magnitude == 0x7F800000 else "nan"


def activation(kind: str) -> int:
    """Random FP16 bits of a kind."""
    match kind:
        case "any":
            return random.getrandbits(16)
        case "middle":
            return number(10, 20)
        case "edges":
            return random.choice((0x0000, 0x03FF, 0x3FF, 0x0155)) | random.getrandbits(6) << 10
        case "subnormal":
            return number(0, 1)
        case "tiny_on_large":
            return number(*random.choice(((0, 3), (0, 0), (12, 16), (28, 30))))
        case "mixed":
            return number(*random.choice(((0, 0), (1, 30), (24, 30))))
        case "cancel":
            return number(0, 30)
        case "special":
            return random.choice((*SPECIALS, number(0, 30)))
        case _:
            return 0


def styles(count: int, kinds: Sequence[str]) -> Iterator[tuple[int, str, bool]]:
    """Sums of 1 to 60 terms in every slot, mostly of one kind: slot, kind and restart of each operation."""
    left, style = [0] * SLOTS, ["any"] * SLOTS
    for index in range(count):
        slot = index % SLOTS
        first = left[slot] == 0
        if first:
            left[slot] = random.choice((1, 2, 5, 20, 60))
            style[slot] = random.choice(kinds)
        left[slot] -= 1
        kind = style[slot] if random.random() < 0.9 else random.choice(("mixed", "idle", "cancel"))
        yield slot, kind, first


def operations(count: int, weight: Callable[[], tuple[int, ...]]) -> Iterator[Operation]:
    """Random sums of activations times weights in every slot.

    Args:
        count: how many operations.
        weight: gives the operands that follow the activation.
    """
    before: list[tuple[int, ...]] = [(0, *weight())] * SLOTS
    for slot, kind, first in styles(count, ACTIVATION_KINDS):
        if kind == "cancel" and random.random() < 0.6:
            a, *rest = before[slot]
            before[slot] = a ^ 0x8000 ^ random.choice((0, 0, 1, 2, 1 << random.randrange(15))), *rest
        else:
            before[slot] = activation(kind), *weight()
        yield kind, before[slot], first


def selected_codes(codes: int) -> list[Operation]:
    """Each code under each select with activations of all sorts, alone and on top of a sum."""
    given: list[Operation] = []
    for code in range(codes):
        for select in (0, 1):
            for a in (*SPECIALS, 0x03FF, 0x4248):
                given += [("edges", (a, code, select), True)] * SLOTS
                given += [("special", (a ^ 0x8400, code, select), False)] * SLOTS
    return given


class FloatSums:
    """What the benches of units with FP32 sums share: the check of every sum, and its coverage.

    Args:
        name: of the unit.
        ports: of its operands.
        accumulate: golden model, from the sum before and the operands.
        kinds: of operands that its operations have.
    """

    def __init__(
        self,
        name: str,
        ports: Sequence[str],
        accumulate: Callable[..., int],
        kinds: Sequence[str] = ACTIVATION_KINDS,
    ) -> None:
        self._ports, self._accumulate = ports, accumulate
        self._kinds = Coverage(f"{name}_kinds", {"kind": kinds})
        self._results = Coverage(f"{name}_results", {"result": RESULTS})

    async def check(self, dut: Any, given: list[Operation]) -> None:
        """Check every operation of a list."""
        await sums.check(dut, self._ports, given, self._accumulate, self._hit, LATENCY, SLOTS)

    def _hit(self, kind: str, bits: int) -> None:
        self._kinds.hit(kind=kind)
        self._results.hit(result=result_class(bits))
