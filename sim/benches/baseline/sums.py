"""Checks a multiply-accumulate unit without stalls: every sum, in every slot, against the golden model."""

from collections.abc import Callable, Sequence
from typing import Any

from sim.streams import Domain, reset

__all__ = ["Operation", "SumChecker", "check"]

Operation = tuple[str, tuple[int, ...], bool]
"""Kind, operands in the order of the ports, and whether the sum restarts."""


class SumChecker:
    """Gives one operation a cycle and compares each sum ``latency`` cycles later.

    Args:
        domain: clock domain.
        ports: names of the operands' ports.
        given: the operations.
        accumulate: golden model, from the sum before and the operands.
        hit: called with the kind and the sum of each operation that passed.
        latency: cycles from operands to sum.
        slots: interleaved accumulators.
    """

    def __init__(
        self,
        domain: Domain,
        ports: Sequence[str],
        given: Sequence[Operation],
        accumulate: Callable[..., int],
        hit: Callable[[str, int], None],
        latency: int,
        slots: int,
    ) -> None:
        self.checked = 0
        self._given, self._accumulate, self._hit = given, accumulate, hit
        self._latency, self._slots = latency, slots
        self._next = 0
        self._sums = [0] * slots
        self._write = [domain.writer(name) for name in (*ports, "first")]
        self._read = domain.reader("acc")
        domain.add(self)

    def step(self) -> None:
        done = self._next - self._latency - 1
        if 0 <= done < len(self._given):
            self._check(done)
        idle = "idle", (0,) * (len(self._write) - 1), False
        _, operands, first = self._given[self._next] if self._next < len(self._given) else idle
        for write, value in zip(self._write, (*operands, int(first)), strict=True):
            write(value)
        self._next += 1

    def _check(self, index: int) -> None:
        kind, operands, first = self._given[index]
        slot = index % self._slots
        before = 0 if first else self._sums[slot]
        expected = self._sums[slot] = self._accumulate(before, *operands)
        got = self._read()
        shown = ", ".join(map(hex, operands))
        assert got == expected & 0xFFFFFFFF, (
            f"operation {index} ({kind}, slot {slot}): {before & 0xFFFFFFFF:#010x} and {shown}"
            f" give {expected & 0xFFFFFFFF:#010x}, got {got:#010x}"
        )
        self._hit(kind, expected)
        self.checked += 1

    def restart(self) -> None:
        self._next = 0

    def status(self) -> str:
        return f"{self.checked} of {len(self._given)} sums checked"


async def check(
    dut: Any,
    ports: Sequence[str],
    given: Sequence[Operation],
    accumulate: Callable[..., int],
    hit: Callable[[str, int], None],
    latency: int,
    slots: int = 1,
) -> None:
    """Check every operation of a list; the arguments are those of ``SumChecker``."""
    domain = await reset(dut, cycle_limit=len(given) + 100)
    checker = SumChecker(domain, ports, given, accumulate, hit, latency, slots)
    await domain.cycles(len(given) + latency + 3)
    assert checker.checked == len(given)
