"""Term encoder: every code of every data type, under every selector, gives the golden terms in turn."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import cocotb
from amaranth.lib import data

from golden.numbers import datatypes
from golden.numbers.datatypes import DataType, Term
from hw import payloads
from hw.config import Config
from sim import context
from sim.benches.weights.matrices import format_value
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
LATENCY = 1


def _steps(name: str) -> tuple[str, ...]:
    """Names of the cycles of a type's codes."""
    count = next(entry.term_count for entry in config.datatypes if entry.name == name)
    return {1: ("only",), 2: ("first", "last"), 3: ("first", "middle", "last")}[count]


coverage = Coverage(
    "term_encoder",
    {"type": config.types, "step": ("only", "first", "middle", "last")},
    lambda type, step: step not in _steps(type),
)


coverage_table = Coverage(
    "term_encoder_table", {"code": range(datatypes.TABLE_ROWS), "negated": (False, True)}
)


def types() -> tuple[DataType, ...]:
    """The supported types; a programmable table has random values, the largest ones among them."""
    values = [-127, 127, 0, *random.choices(range(-127, 128), k=datatypes.TABLE_ROWS - 3)]
    table = datatypes.table("table", random.sample(values, len(values)))
    return tuple(table if entry.decoder == table.decoder else entry for entry in config.datatypes)


def table_rows(dtype: DataType) -> list[list[dict[str, int]]]:
    """``payloads.term_table`` of a table."""
    return [[term._asdict() for term in dtype.terms(int(value))] for value in dtype.values()]


class Work(NamedTuple):
    """One cycle: a step of ``lanes`` codes."""

    dtype: DataType
    selector: int
    codes: list[int]
    step: int

    def drive(self, dut: Any) -> None:
        """Put it at the inputs."""
        form = codec(payloads.matrix_format(config)).pack(format_value(config, self.dtype))
        if self.dtype.decoder == "table":
            dut.term_table.value = codec(payloads.term_table).pack(table_rows(self.dtype))
        dut.format.value, dut.selector.value, dut.step.value = form, self.selector, self.step
        dut.codes.value = sum(self.dtype.lane(code) << 8 * lane for lane, code in enumerate(self.codes))

    def expected(self) -> list[dict[str, int]]:
        """The golden terms; a table's values are split before they get the sign of their group."""
        is_table = self.dtype.decoder == "table"
        values = self.dtype.values(0 if is_table else self.selector)
        terms = [self.dtype.terms(int(values[code]))[self.step] for code in self.codes]
        if is_table and self.dtype.specials[self.selector] < 0:
            terms = [Term(int(bool(term.select) and not term.negative), term.select) for term in terms]
        return [term._asdict() for term in terms]


def works() -> Iterator[Work]:
    """All codes of all types under all selectors, in random lanes, step after step."""
    for dtype in types():
        for selector in range(max(len(dtype.specials), 1)):
            codes = list(range(len(dtype.values(selector))))
            codes += random.choices(codes, k=-len(codes) % config.lanes)
            random.shuffle(codes)
            for start in range(0, len(codes), config.lanes):
                chosen = codes[start : start + config.lanes]
                yield from (Work(dtype, selector, chosen, step) for step in range(dtype.term_count))


@cocotb.test()
async def every_code(dut: Any) -> None:
    """A term a lane and cycle, without a pause between codes, selectors and types."""
    domain = await reset(dut, cycle_limit=200_000)
    read, terms = domain.reader("terms"), codec(data.ArrayLayout(payloads.term, config.lanes))
    under_way: deque[Work] = deque()
    given = list(works())
    for work in [*given, *given[: LATENCY + 1]]:
        await domain.cycles(1)
        if len(under_way) == LATENCY + 1:
            done = under_way.popleft()
            got = terms.unpack(read())
            assert got == done.expected(), (done.dtype.name, done)
            if done.dtype.name in config.types:
                coverage.hit(type=done.dtype.name, step=_steps(done.dtype.name)[done.step])
            else:
                for code in done.codes:
                    coverage_table.hit(code=code, negated=bool(done.selector))
        work.drive(dut)
        under_way.append(work)
