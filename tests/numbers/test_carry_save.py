"""Carry-save reduction: the rows' sum equals the operands' sum, exhaustively for small trees."""

import itertools
import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from hw.numbers.carry_save import compress

pytestmark = pytest.mark.quick


def sums(widths: tuple[int, ...], width: int, rows: int, stimulus: list[tuple[int, ...]]) -> list[list[int]]:
    """Values of the rows for every tuple of operands."""
    m = Module()
    operands = [Signal(bits, name=f"operand{place}") for place, bits in enumerate(widths)]
    results = [Signal(width, name=f"result{row}") for row in range(rows)]
    found = []
    for result, row in zip(results, compress(m, operands, width, rows), strict=True):
        assert len(row) == width
        m.d.comb += result.eq(row)

    async def apply(context) -> None:
        for values in stimulus:
            for operand, value in zip(operands, values, strict=True):
                context.set(operand, value)
            await context.delay(1e-9)
            found.append([context.get(result) for result in results])

    simulator = Simulator(m)
    simulator.add_testbench(apply)
    simulator.run()
    return found


def check(widths: tuple[int, ...], width: int, rows: int, stimulus: list[tuple[int, ...]]) -> None:
    """Equal sums modulo ``2**width``."""
    for values, found in zip(stimulus, sums(widths, width, rows, stimulus), strict=True):
        assert sum(found) % (1 << width) == sum(values) % (1 << width), (values, found)


@pytest.mark.parametrize("rows", [2, 3, 4])
@pytest.mark.parametrize(
    ("widths", "width"),
    [
        ((1,), 1),
        ((3, 3), 3),
        ((2, 2, 2), 4),
        ((3, 3, 3), 3),  # carries beyond the width are dropped
        ((1,) * 9, 4),
        ((1, 2, 3, 4), 6),
        ((2,) * 5, 5),
        ((4, 1, 1, 1, 1, 1), 4),
    ],
    ids=str,
)
def test_every_operand(widths: tuple[int, ...], width: int, rows: int) -> None:
    check(widths, width, rows, list(itertools.product(*(range(1 << bits) for bits in widths))))


@pytest.mark.parametrize(("count", "rows"), [(20, 2), (33, 4), (13, 3)])
def test_large_trees(count: int, rows: int) -> None:
    """Random operands of random widths, all ones and zero among them."""
    widths = tuple(random.randint(1, 12) for _ in range(count))
    stimulus = [tuple(random.getrandbits(bits) for bits in widths) for _ in range(150)]
    stimulus += [tuple((1 << bits) - 1 for bits in widths), (0,) * count]
    check(widths, 16, rows, stimulus)
