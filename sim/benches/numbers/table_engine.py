"""Table engine: every argument of every function equal to the golden value, however the pipeline halts."""

import itertools
import random
from typing import Any

import cocotb

from golden.numbers import tables
from golden.numbers.tables import ARGUMENT_BITS, Table
from hw.numbers.table_engine import LATENCY
from sim import context
from sim.coverage import Coverage
from sim.pipelines import check_pipeline
from sim.streams import reset

FUNCTIONS: list[Table] = [getattr(tables, name.upper()) for name in context.parameters()["functions"]]
STRIDE: int = context.parameters()["stride"]
coverage = Coverage("table_engine", {"function": ("exp2", "reciprocal"), "segment": range(16)})


@cocotb.test()
@cocotb.parametrize(halts=(False, True))
async def every_argument(dut: Any, halts: bool) -> None:
    """In random order, the functions mixed; garbage at the inputs meanwhile."""
    domain = await reset(dut)
    value, write = domain.reader("value"), domain.writer("chosen")
    arguments = range(random.randrange(STRIDE), 1 << ARGUMENT_BITS, STRIDE)
    works = list(itertools.product(range(len(FUNCTIONS)), arguments))
    random.shuffle(works)

    def offer(work: tuple[int, int] | None, _: object) -> None:
        function, argument = work or random.choice(works)
        write(function)
        dut.argument.value = argument

    def compare(work: tuple[int, int]) -> None:
        function, argument = work
        expected = int(FUNCTIONS[function](argument))
        assert value() == expected, (FUNCTIONS[function].name, argument, value(), expected)

    await check_pipeline(domain, dut, LATENCY, works, halts, offer, compare)
    for function, argument in works:
        coverage.hit(function=FUNCTIONS[function].name, segment=argument >> ARGUMENT_BITS - 4)
