"""FP16 dot product: every accumulated sum, in both slots, equals the golden model's bits."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import cocotb
from amaranth.lib import data

from golden.baseline import fp16_dot as golden
from hw.baseline.fp16_dot import LATENCY, SLOTS
from sim import context
from sim.benches.baseline import sums
from sim.benches.baseline.halves import EDGES, SPECIALS, number, result_class, styles
from sim.coverage import Coverage
from sim.packing import codec

KINDS = (
    "any",
    "close",
    "window",
    "edges",
    "largest",
    "subnormal",
    "mixed",
    "sparse",
    "cancel",
    "special",
    "idle",
)
FINITE = tuple(bits for bits in SPECIALS if bits & 0x7C00 != 0x7C00)

kinds = Coverage("fp16_dot_kinds", {"kind": KINDS})
results = Coverage("fp16_dot_results", {"result": ("zero", "finite", "nan")})

Vectors = tuple[list[int], list[int]]
"""FP16 bits of both factors, one a lane."""

_LANES = range(golden.LANES)
_codec = codec(data.ArrayLayout(16, golden.LANES))


def vectors(kind: str, before: Vectors) -> Vectors:
    """Random operands of a kind; those of the slot's last sum are known."""
    match kind:
        case "close":
            return _each(lambda: (number(14, 16), number(14, 16)))
        case "window":
            # Exponents of the products lie up to the window's width and a little more below the largest.
            a, b = _each(lambda: (number(1, 30), number(1, 4)))
            at = random.randrange(golden.LANES)
            a[at], b[at] = number(28, 30), number(1, 2)
            return a, b
        case "edges":
            return _each(lambda: (_edge(), _edge()))
        case "largest":
            sign = random.getrandbits(1) << 15
            return [sign | 0x7BFF - random.getrandbits(2) for _ in _LANES], [0x7BFF] * golden.LANES
        case "subnormal":
            return _each(lambda: (number(0, 0), number(*random.choice(((0, 2), (0, 30))))))
        case "sparse":
            return _each(lambda: (random.choice((0, 0, 0x8000, number(0, 30))), number(0, 30)))
        case "cancel":
            return _cancel(before)
        case "special":
            a, b = _each(lambda: (number(0, 30), random.choice(FINITE)))
            if random.random() < 0.5:
                random.choice((a, b))[random.randrange(golden.LANES)] = random.choice(SPECIALS)
            return a, b
        case "idle":
            return [0] * golden.LANES, [0] * golden.LANES
        case "mixed":
            return _each(lambda: (number(*random.choice(((0, 0), (1, 30), (24, 30)))), number(0, 30)))
        case _:
            return _each(lambda: (number(0, 30), number(0, 30)))


def _each(pair: Any) -> Vectors:
    pairs = [pair() for _ in _LANES]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _edge() -> int:
    return number(1, 30) & ~0x3FF | random.choice(EDGES)


def _cancel(before: Vectors) -> Vectors:
    """Lanes that cancel each other, or the last sum with the opposite sign; nearly."""
    a, b = [list(side) for side in (before if random.random() < 0.5 else vectors("any", before))]
    if random.random() < 0.5:
        half = golden.LANES // 2
        a[half:], b[half:] = [x ^ 0x8000 for x in a[:half]], b[:half]
    else:
        a = [x ^ 0x8000 for x in a]
    for _ in range(random.randrange(3)):
        a[random.randrange(golden.LANES)] ^= random.choice((1, 2, 1 << random.randrange(10)))
    order = random.sample(_LANES, golden.LANES)
    return [a[lane] for lane in order], [b[lane] for lane in order]


def operations(count: int) -> Iterator[tuple[str, Vectors, bool]]:
    """Random sums of 1 to 60 steps in every slot, mostly of one kind: kind, operands, restart."""
    before = [vectors("any", ([], []))] * SLOTS
    for slot, kind, first in styles(count, KINDS):
        before[slot] = vectors(kind, before[slot])
        yield kind, before[slot], first


def accumulate(acc: int, a: int, b: int) -> int:
    """The golden model on ports' bits."""
    return golden.accumulate(acc, _codec.unpack(a), _codec.unpack(b))


async def check(dut: Any, given: Sequence[tuple[str, Vectors, bool]]) -> None:
    """Check every operation of a list."""

    def hit(kind: str, bits: int) -> None:
        kinds.hit(kind=kind)
        results.hit(result=result_class(bits))

    packed = [(kind, tuple(map(_codec.pack, operands)), first) for kind, operands, first in given]
    await sums.check(dut, ("a", "b"), packed, accumulate, hit, LATENCY, SLOTS)


@cocotb.test()
async def every_sum_is_exact(dut: Any) -> None:
    await check(dut, list(operations(context.parameters().get("operations", 5_000))))


@cocotb.test()
async def every_distance_in_every_lane(dut: Any) -> None:
    """One product at each exponent below a largest one, in each lane, alone and on a sum that cancels it."""
    given = []
    for lane in _LANES:
        for field in range(1, 31):
            for low in (1, 30):
                a, b = [0] * golden.LANES, [0] * golden.LANES
                a[lane], b[lane] = field << 10 | random.choice(EDGES), low << 10 | random.choice(EDGES)
                other = (lane + random.randrange(1, golden.LANES)) % golden.LANES
                a[other], b[other] = 0x8000 | number(30, 30), number(29, 30)
                given += [("edges", (a, b), True)] * SLOTS
                a = [0x8000 ^ x if place == other else x for place, x in enumerate(a)]
                given += [("cancel", (a, b), False)] * SLOTS
    await check(dut, given)


@cocotb.test()
async def specials_meet(dut: Any) -> None:
    """Each pair of special operands in some lane, on top of a sum, zero and NaN, then a restart."""
    given = []
    for a in SPECIALS:
        for b in SPECIALS:
            for start in (0x0000, 0x4248, 0x7E01):
                lane, other = random.sample(_LANES, 2)
                x, y = [0] * golden.LANES, [0x3C00] * golden.LANES
                x[other] = start
                given += [("special", (x, y), True)] * SLOTS
                x, y = [0] * golden.LANES, [0x3C00] * golden.LANES
                x[lane], y[lane] = a, b
                given += [("special", (x, y), False)] * SLOTS
                given += [("idle", vectors("idle", ([], [])), False)] * SLOTS
    await check(dut, given)
