"""Term encoder: every code of every data type, under every selector, gives the golden table's terms."""

import random
from typing import Any

import cocotb

from golden.numbers.datatypes import SPECIALS, DataType
from hw import payloads
from hw.config import Config
from sim import context
from sim.benches.weights.matrices import format_value
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import Domain, reset

config = Config.model_validate(context.parameters()["config"])


def _steps(name: str) -> tuple[str, ...]:
    """Names of the cycles of a type's codes."""
    count = next(entry.term_count for entry in config.datatypes if entry.name == name)
    return {1: ("only",), 2: ("first", "last"), 3: ("first", "middle", "last")}[count]


coverage = Coverage(
    "term_encoder",
    {"type": config.types, "step": ("only", "first", "middle", "last")},
    lambda type, step: step not in _steps(type),
)


async def encode(
    dut: Any, domain: Domain, dtype: DataType, selector: int, codes: list[int]
) -> list[list[Any]]:
    """Terms of ``lanes`` codes, ``[step][lane]``; the inputs change every cycle."""
    read = domain.reader("terms")
    terms = codec(payloads.term)
    width = payloads.term.size
    dut.format.value = codec(payloads.matrix_format(config)).pack(format_value(config, dtype))
    dut.selector.value = selector
    dut.codes.value = sum(dtype.lane(code) << 8 * lane for lane, code in enumerate(codes))
    found = []
    for step in range(dtype.term_count):
        dut.step.value = step
        await domain.cycles(2)
        bits = read()
        found.append([terms.unpack(bits >> width * lane & (1 << width) - 1) for lane in range(config.lanes)])
    return found


@cocotb.test()
async def every_code(dut: Any) -> None:
    """All codes of all types, in all lanes at once and in random order."""
    domain = await reset(dut, cycle_limit=200_000)
    for dtype in config.datatypes:
        for selector in range(SPECIALS if len(dtype.specials) > 1 else 1):
            if selector >= max(len(dtype.specials), 1):
                continue
            values = dtype.values(selector)
            codes = list(range(len(values)))
            codes += random.choices(codes, k=-len(codes) % config.lanes)
            random.shuffle(codes)
            for start in range(0, len(codes), config.lanes):
                chosen = codes[start : start + config.lanes]
                found = await encode(dut, domain, dtype, selector, chosen)
                for lane, code in enumerate(chosen):
                    expected = [one._asdict() for one in dtype.terms(int(values[code]))]
                    got = [terms[lane] for terms in found]
                    assert got == expected, (dtype.name, selector, code, int(values[code]), got, expected)
        for step in _steps(dtype.name):
            coverage.hit(type=dtype.name, step=step)
