"""Processing element: exact dot products of any terms and activations, and captures at any time."""

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data

from golden.numbers.datatypes import FIXED_MAGNITUDES, PROGRAMMABLE_MAGNITUDES, DataType
from golden.pe.dot import group_dot
from hw import payloads
from hw.config import Config
from hw.pe.multiples import multiple_layout
from hw.pe.processing_element import SUM_LATENCY, lane_bias
from sim import context
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
GROUPS: int = context.parameters()["groups"]
DATA = ("random", "positive", "negative")
coverage = Coverage("processing_element", {"type": config.types, "data": DATA})
coverage_shift = Coverage("processing_element_shift", {"shift": config.shifts, "first": (False, True)})
coverage_idle = Coverage("processing_element_idle", {"cycles_before": (0, 1, 2)})

TERMS = codec(data.ArrayLayout(payloads.term, config.lanes))
MULTIPLES = codec(data.ArrayLayout(multiple_layout(config), config.lanes))


@dataclass
class Step:
    """One cycle of terms: ``(negative, select)`` and activation of every lane."""

    terms: list[tuple[int, int]]
    activations: list[int]
    programming: int
    shift: int  # place in config.shifts

    def magnitudes(self) -> tuple[int, ...]:
        """What the selects mean."""
        first, second = PROGRAMMABLE_MAGNITUDES
        return (*FIXED_MAGNITUDES, first[self.programming & 1], second[self.programming >> 1])

    def value(self) -> int:
        """The shifted sum of products."""
        magnitudes = self.magnitudes()
        products = (
            (-magnitudes[select] if negative else magnitudes[select]) * activation
            for (negative, select), activation in zip(self.terms, self.activations, strict=True)
        )
        return sum(products) << config.shifts[self.shift]

    def inputs(self) -> tuple[int, int]:
        """Bits of ``terms`` and ``multiples``."""
        ten, second = self.magnitudes()[8:]
        terms = [{"negative": negative, "select": select} for negative, select in self.terms]
        multiples = [
            {"one": one, "three": 3 * one, "first": ten * one, "second": second * one}
            for one in self.activations
        ]
        return TERMS.pack(terms), MULTIPLES.pack(multiples)


@dataclass
class Group:
    """Steps and their exact dot product; ``idle`` cycles of garbage before each step."""

    steps: list[Step]
    dot: int
    idle: int = 0

    def biased(self) -> int:
        """What ``dot`` shows."""
        bias = sum(lane_bias(config) << config.shifts[step.shift] for step in self.steps)
        return (self.dot + bias) % (1 << config.product_bits)


def random_step() -> Step:
    """Any terms, activations and shift."""
    most = config.largest_activation
    return Step(
        [(random.getrandbits(1), random.randrange(10)) for _ in range(config.lanes)],
        [random.choice((-most, most, 0, random.randint(-most, most))) for _ in range(config.lanes)],
        random.randrange(4),
        random.randrange(len(config.shifts)),
    )


def random_group() -> Group:
    """Steps that belong to no data type."""
    steps = [random_step() for _ in range(random.randint(1, 6))]
    return Group(steps, sum(step.value() for step in steps), random.choice((0, 0, 1, 2)))


def coded_group(dtype: DataType, chunks: int, kind: str) -> Group:
    """A group of codes, its terms as the golden table gives them, its dot product as ``golden.pe.dot``."""
    rng, most = np.random.default_rng(random.getrandbits(32)), config.largest_activation
    inputs = chunks * config.lanes
    table = dtype.values(random.randrange(max(len(dtype.specials), 1)))
    values = table[rng.integers(0, len(table), inputs)]
    activations = rng.integers(-most, most + 1, inputs)
    if kind != "random":
        values = np.full(inputs, table[np.abs(table).argmax()])
        activations = most * np.sign(values) * (1 if kind == "positive" else -1)
    first, second = dtype.programming
    steps = []
    for start in range(0, inputs, config.lanes):
        terms = [dtype.terms(int(value)) for value in values[start : start + config.lanes]]
        for number, shift in enumerate(dtype.shifts):
            chosen = [(term[number].negative, term[number].select) for term in terms]
            part = activations[start : start + config.lanes].tolist()
            steps.append(Step(chosen, part, first + 2 * second, config.shifts.index(shift)))
    return Group(steps, int(group_dot(activations, values[None], inputs)[0, 0]))


async def run(dut: Any, groups: list[Group]) -> None:
    """Stream groups through; ``dot`` must be the group's last captured one in every cycle."""
    domain = await reset(dut, cycle_limit=200_000)
    read = domain.reader("dot")
    schedule: list[tuple[Step | None, bool, Group | None]] = []
    for group in groups:
        for number, step in enumerate(group.steps):
            schedule += [(None, False, None)] * group.idle
            ends = group if number + 1 == len(group.steps) else None
            schedule.append((step, number == 0, ends))
            coverage_shift.hit(shift=config.shifts[step.shift], first=number == 0)
        coverage_idle.hit(cycles_before=group.idle)
    entered: deque = deque([(None, False, None)] * (SUM_LATENCY + 1), SUM_LATENCY + 1)
    shown: deque[int | None] = deque([None, None])
    for step, first, ends in [*schedule, *[(None, False, None)] * (SUM_LATENCY + 4)]:
        await domain.cycles(1)
        wanted = shown.popleft()
        assert wanted is None or read() == wanted, (read(), wanted)
        dut.terms.value, dut.multiples.value = (step or random_step()).inputs()
        accumulated, is_first, _ = [*entered, (step, first, ends)][-1 - SUM_LATENCY]
        dut.shift.value = 0 if accumulated is None else 1 << accumulated.shift
        dut.first.value = is_first
        finished = entered[0][2]
        dut.capture.value = finished is not None
        shown.append(shown[-1] if finished is None else finished.biased())
        entered.append((step, first, ends))
    assert shown[-1] == groups[-1].biased()


@cocotb.test()
async def any_terms(dut: Any) -> None:
    """Random terms in random order of shifts, groups back to back or with idle cycles of garbage."""
    await run(dut, [random_group() for _ in range(GROUPS)])


@cocotb.test()
async def every_type(dut: Any) -> None:
    """Groups of all data types, full groups of the largest values among them."""
    groups = []
    for dtype in config.datatypes:
        for kind in DATA:
            chunks = random.randint(1, config.chunks) if kind == "random" else config.chunks
            groups.append(coded_group(dtype, chunks, kind))
            coverage.hit(type=dtype.name, data=kind)
    random.shuffle(groups)
    await run(dut, groups)
