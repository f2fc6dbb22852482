"""Truth tables: the decision diagram agrees with every defined entry, whatever the order of its inputs."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from hw.pe.truth_table import lookup

pytestmark = pytest.mark.quick

Entries = list[int | None]


def looked_up(entries: Entries, width: int) -> list[int]:
    """Output for every combination of the inputs."""
    m = Module()
    count = (len(entries) - 1).bit_length()
    address, result = Signal(max(count, 1)), Signal(width)
    m.d.comb += result.eq(lookup(m, list(address[:count]), entries, width))
    found = []

    async def apply(context) -> None:
        for value in range(len(entries)):
            context.set(address, value)
            await context.delay(1e-9)
            found.append(context.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(apply)
    simulator.run()
    return found


def check(entries: Entries, width: int) -> None:
    """Every defined entry comes out."""
    for place, (wanted, found) in enumerate(zip(entries, looked_up(entries, width), strict=True)):
        assert wanted is None or found == wanted, (place, wanted, found)


@pytest.mark.parametrize("inputs", [0, 1, 2])
def test_every_small_table(inputs: int) -> None:
    """All tables of up to two inputs with 0, 1 and undefined entries."""
    size = 1 << inputs
    for number in range(3**size):
        check([(0, 1, None)[number // 3**place % 3] for place in range(size)], 1)


@pytest.mark.parametrize("undefined", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("inputs", [3, 4, 5, 6, 7, 8])
def test_random_tables(inputs: int, undefined: float) -> None:
    """Several output bits share nodes; beyond six inputs only some orders are tried."""
    width = random.randint(1, 5)
    entries: Entries = [random.getrandbits(width) for _ in range(1 << inputs)]
    check([None if random.random() < undefined else entry for entry in entries], width)


def test_structured_tables() -> None:
    """Constant, nothing defined, one input of many, and an identity."""
    check([3] * 16, 2)
    check([None] * 16, 2)
    check([place >> 2 & 1 for place in range(16)], 1)
    check(list(range(32)), 5)
