"""Accumulators: a ring of sums that follows a Python list through any order of adding and moving on."""

import random
from typing import Any

import cocotb

from hw.config import Config
from sim import context
from sim.coverage import Coverage
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["count"]
BITS = config.accumulator_bits
HALF = 1 << BITS - 1
FLAGS = (False, True)
coverage = Coverage("accumulators", {"enable": FLAGS, "start": FLAGS, "rotate": FLAGS})


def wrapped(value: int) -> int:
    """As the accumulator's two's complement shows it."""
    return (value + HALF) % (2 * HALF) - HALF


def contribution() -> int:
    """Any value, extremes often."""
    return random.choice((-HALF, HALF - 1, -1, 0, 1, *(random.randrange(-HALF, HALF) for _ in range(5))))


@cocotb.test()
async def any_order(dut: Any) -> None:
    """Random starts, rotations and pauses; ``total`` is checked in every cycle, paused ones included."""
    domain = await reset(dut, cycle_limit=100_000)
    read = domain.reader("total")
    ring: list[int | None] = [None] * config.slots
    for _ in range(COUNT):
        start = ring[0] is None or random.random() < 0.2
        enable, rotate = random.random() < 0.7, random.random() < 0.6
        added = contribution()
        dut.enable.value, dut.start.value, dut.rotate.value = enable, start, rotate
        dut.contribution.value = added & 2 * HALF - 1
        await domain.cycles(1)
        total = wrapped(added if start else ring[0] + added)
        assert read() == total & 2 * HALF - 1, (read(), total)
        if enable:
            ring[0] = total
            ring = [*ring[1:], ring[0]] if rotate else ring
        coverage.hit(enable=enable, start=start, rotate=rotate)


@cocotb.test()
async def rows_in_turn(dut: Any) -> None:
    """The rescaler's own order: every row once a group, two passes of a row where there are offsets."""
    domain = await reset(dut, cycle_limit=100_000)
    read = domain.reader("total")
    dut.enable.value = 1
    for _ in range(max(COUNT // 100, 2)):
        passes = random.choice((1, 2))
        sums = [0] * config.slots
        for group in range(random.randint(1, 5)):
            for slot in range(config.slots):
                for number in range(passes):
                    added = contribution()
                    sums[slot] = wrapped(sums[slot] + added)
                    dut.start.value = group == 0 and number == 0
                    dut.rotate.value = number == passes - 1
                    dut.contribution.value = added & 2 * HALF - 1
                    await domain.cycles(1)
                    assert read() == sums[slot] & 2 * HALF - 1, (group, slot, number)
