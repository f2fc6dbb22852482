"""Multiples: every activation under every programming gives its odd multiples, one cycle later."""

import random
from collections import deque
from typing import Any

import cocotb
from amaranth.lib import data

from golden.numbers.datatypes import PROGRAMMABLE_MAGNITUDES
from hw.config import Config
from hw.pe.multiples import multiple_layout
from sim import context
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
LATENCY = 1
PROGRAMMINGS = (0, 1, 2, 3)
coverage = Coverage("multiples", {"programming": PROGRAMMINGS, "activation": ("lowest", "zero", "highest")})


def expected(activation: int, programming: int) -> dict[str, int]:
    """Multiples of one activation."""
    (five, ten), (seven, sixteen) = PROGRAMMABLE_MAGNITUDES
    return {
        "one": activation,
        "three": 3 * activation,
        "first": activation * (ten if programming & 1 else five),
        "second": activation * (sixteen if programming & 2 else seven),
    }


def chunks() -> list[tuple[int, list[int]]]:
    """Every activation with every programming, in random order and lanes; the programming changes often."""
    most = config.largest_activation
    result = []
    for programming in PROGRAMMINGS:
        activations = list(range(-most, most + 1))
        activations += random.choices(activations, k=-len(activations) % config.lanes)
        random.shuffle(activations)
        starts = range(0, len(activations), config.lanes)
        result += [(programming, activations[start : start + config.lanes]) for start in starts]
    random.shuffle(result)
    return result


@cocotb.test()
async def every_activation(dut: Any) -> None:
    """All activations, one chunk a cycle without a pause."""
    domain = await reset(dut, cycle_limit=1 << 18)
    read, output = domain.reader("multiples"), codec(data.ArrayLayout(multiple_layout(config), config.lanes))
    under_way: deque[tuple[int, list[int]]] = deque()
    work = chunks()
    for programming, activations in [*work, *work[: LATENCY + 1]]:
        await domain.cycles(1)
        if len(under_way) == LATENCY + 1:
            before, values = under_way.popleft()
            got = output.unpack(read())
            assert got == [expected(value, before) for value in values], (before, values)
        mask = (1 << config.activation_bits) - 1
        bits = [(value & mask) << config.activation_bits * lane for lane, value in enumerate(activations)]
        dut.activations.value = sum(bits)
        dut.programming.value = programming
        under_way.append((programming, activations))
    for programming in PROGRAMMINGS:
        for name in ("lowest", "zero", "highest"):
            coverage.hit(programming=programming, activation=name)
