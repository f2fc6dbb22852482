"""BitMoD's processing element: every scaled group, in both slots, equals the golden model's bits."""

import random
from typing import Any

import cocotb

from golden.baseline import bitmod_pe as golden
from sim import context
from sim.benches.baseline.term_groups import INPUTS, Cycle, Group, Schedule, schedule
from sim.coverage import Coverage
from sim.streams import Domain, reset

KINDS = ("any", "close", "cancel", "subnormal", "null", "largest")
MODES = ("float", "booth", "free")

kinds = Coverage("bitmod_pe_kinds", {"kind": KINDS, "mode": MODES})

_FLOATS = tuple(sign * half for half in (0, 1, 2, 3, 4, 6, 8, 10, 12, 16) for sign in (1, -1))


def activation(kind: str) -> int:
    """Random FP16 bits of a kind; infinity and NaN count as numbers."""
    sign, fraction = random.getrandbits(1) << 15, random.getrandbits(10)
    fields = {
        "any": (0, 31),
        "close": (12, 18),
        "cancel": (14, 15),
        "subnormal": (0, 2),
        "null": (0, 31),
        "largest": (30, 31),
    }
    field = random.randint(*fields[kind])
    return sign | field << 10 | (0x3FF if kind == "largest" and random.random() < 0.8 else fraction)


def weights(mode: str) -> list[list[tuple[golden.Term, int]]]:
    """Terms of a weight in every lane, all of one type."""
    if mode == "float":
        return [golden.float_terms(random.choice(_FLOATS)) for _ in range(golden.LANES)]
    bits = random.choice((4, 6, 8))
    return [
        golden.booth_terms(random.randrange(-(1 << bits - 1), 1 << bits - 1), bits)
        for _ in range(golden.LANES)
    ]


def free_term(kind: str) -> golden.Term:
    """Any term, a null one more often where the kind asks for it."""
    man = int(random.random() < (0.3 if kind == "null" else 0.95))
    return golden.Term(random.getrandbits(1), random.getrandbits(2), man)


def group(kind: str, mode: str, length: int) -> Group:
    """A random group of at least ``length`` cycles."""
    cycles: list[Cycle] = []
    while len(cycles) < length:
        numbers = tuple(activation(kind) for _ in range(golden.LANES))
        if kind == "cancel" and cycles and random.random() < 0.5:
            # The last cycle again with the opposite sign, nearly.
            before, terms, bsig = cycles[-1]
            cycles.append((tuple(a ^ 0x8000 ^ (random.random() < 0.1) for a in before), terms, bsig))
        elif mode == "free":
            terms = tuple(free_term(kind) for _ in range(golden.LANES))
            cycles.append((numbers, terms, random.randrange(7)))
        else:
            for step in zip(*weights(mode), strict=True):
                cycles.append((numbers, tuple(term for term, _ in step), step[0][1]))
    return Group(kind, mode, tuple(cycles), random.choice((0, 1, 127, 128, 255, random.getrandbits(8))))


def groups(count: int) -> list[Group]:
    """Random groups of all kinds."""
    return [
        group(KINDS[i % len(KINDS)], random.choice(MODES), random.choice((16, 17, 24, 64)))
        for i in range(count)
    ]


class Checker:
    """Plays a schedule and compares each result."""

    def __init__(self, domain: Domain, plan: Schedule) -> None:
        self.checked = 0
        self._plan = plan
        self._next = 0
        self._write = [domain.writer(name) for name in INPUTS]
        self._mantissa, self._exponent = domain.reader("mantissa"), domain.reader("exponent")
        domain.add(self)

    def step(self) -> None:
        group = self._plan.results.get(self._next - 1)
        if group is not None:
            self._check(group)
        if self._next < len(self._plan.inputs):
            for write, value in zip(self._write, self._plan.inputs[self._next], strict=True):
                write(value)
        self._next += 1

    def _check(self, group: Group) -> None:
        mantissa, exponent = golden.dequantise(golden.group(group.cycles), group.scale)
        width = golden.ACCUMULATOR + golden.SCALE_BITS
        got = (self._mantissa() ^ 1 << width - 1) - (1 << width - 1), self._exponent()
        assert got == (mantissa, exponent), (
            f"group {self.checked} ({group.kind}, {group.mode}, {len(group.cycles)} cycles, scale"
            f" {group.scale}): expected {mantissa} and exponent {exponent}, got {got}"
        )
        kinds.hit(kind=group.kind, mode=group.mode)
        self.checked += 1

    def restart(self) -> None:
        self._next = 0

    def status(self) -> str:
        return f"{self.checked} of {len(self._plan.results)} groups checked"


@cocotb.test()
async def every_group_is_exact(dut: Any) -> None:
    given = groups(context.parameters().get("groups", 400))
    plan = schedule(given)
    domain = await reset(dut, cycle_limit=len(plan.inputs) + 100)
    checker = Checker(domain, plan)
    await domain.cycles(len(plan.inputs) + 3)
    assert checker.checked == len(given)
