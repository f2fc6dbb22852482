"""Float32 multiplier and adder: every result equal to golden, a pair of operands a cycle."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.vector import arithmetic
from sim import context
from sim.coverage import Coverage
from sim.streams import reset

NAME: str = context.parameters()["operation"]
COUNT: int = context.parameters()["count"]
LATENCY = 4
GOLDEN = {"multiply": arithmetic.multiply, "add": arithmetic.add}
KINDS = ("zero", "normal", "infinite", "nan")
FIELDS = (0, 1, 2, 3, 23, 24, 25, 102, 103, 126, 127, 128, 150, 151, 252, 253, 254, 255)
FRACTIONS = (0, 1, 2, 3, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFE, 0x7FFFFF)
coverage = Coverage(
    "float_units",
    {"operation": tuple(GOLDEN), "kind": KINDS, "negative": (False, True)},
    lambda operation, kind, negative: kind == "nan" and negative,
)


def kind(bits: int) -> str:
    magnitude = bits & 0x7FFFFFFF
    return "zero" if not magnitude else KINDS[1 + (magnitude >= 0x7F800000) + (magnitude > 0x7F800000)]


def operands() -> tuple[int, int]:
    """Anything: borders, nearly equal magnitudes, sums and products half way between two numbers."""

    def one() -> int:
        fraction = random.choice(
            (random.getrandbits(23), random.choice(FRACTIONS), 1 << random.randrange(23))
        )
        field = random.choice((random.getrandbits(8), random.choice(FIELDS), random.randrange(110, 145)))
        return random.getrandbits(1) << 31 | field << 23 | fraction

    a, way = one(), random.randrange(6)
    if way == 0:
        b = (a ^ 1 << 31) + random.randint(-3, 3)
    elif way == 1:
        b = a ^ random.getrandbits(2) << 31 ^ random.getrandbits(random.randrange(1, 27))
    elif way == 2 and NAME == "multiply":  # a product near 2^-126 or 2^128
        field = random.choice((0, 254, 255)) + 127 - (a >> 23 & 255) + random.randint(-1, 2)
        b = min(max(field, 0), 255) << 23 | random.getrandbits(23)
    elif way == 3 and NAME == "multiply":  # few significant bits: ties
        a &= -1 << random.randrange(8, 15)
        b = one() & -1 << random.randrange(8, 15)
    elif way == 4 and NAME == "add":  # so far apart that the smaller one decides about a tie
        field = (a >> 23 & 255) - random.randint(20, 28)
        b = random.getrandbits(1) << 31 | max(field, 0) << 23 | random.choice(FRACTIONS)
    else:
        b = one()
    return a & 0xFFFFFFFF, b & 0xFFFFFFFF


@cocotb.test()
async def any_operands(dut: Any) -> None:
    """One pair behind the other."""
    domain = await reset(dut, cycle_limit=10_000_000)
    pairs = [operands() for _ in range(COUNT)]
    a, b = np.array(pairs, np.uint32).view(np.float32).T
    wanted = GOLDEN[NAME](a, b).view(np.uint32).tolist()
    write_a, write_b = domain.writer("a"), domain.writer("b")
    read = domain.reader("product" if NAME == "multiply" else "sum")
    for step in range(COUNT + LATENCY + 1):
        if step > LATENCY:
            number = step - LATENCY - 1
            found = read()
            x, y = pairs[number]
            assert found == wanted[number], f"{x:08x} {y:08x}: {found:08x}, not {wanted[number]:08x}"
            coverage.hit(operation=NAME, kind=kind(found), negative=found >> 31 == 1 and kind(found) != "nan")
        if step < COUNT:
            write_a(pairs[step][0])
            write_b(pairs[step][1])
        await domain.cycles(1)
