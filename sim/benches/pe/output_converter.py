"""Output converter: bit for bit the golden rounding in every format, however the pipeline halts."""

import random
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from golden.pe.output_converter import FORMATS, convert
from hw import payloads
from hw.config import Config
from hw.pe.output_converter import LATENCY
from sim import context
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.pipelines import check_pipeline
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["count"]
BITS = config.accumulator_bits
HALF = 1 << BITS - 1
LOWEST, HIGHEST = -1024, 1023  # exponents
KINDS = ("zero", "subnormal", "normal", "infinite", "nan")
coverage = Coverage("output_converter", {"format": tuple(FORMATS), "kind": KINDS, "negative": (False, True)})
errors = ErrorPlan("output_converter")
coverage_tie = Coverage("output_converter_tie", {"format": tuple(FORMATS), "up": (False, True)})


@dataclass
class Work:
    """One sum and what becomes of it."""

    value: int
    exponent: int
    special: bool
    format: str

    def expected(self) -> tuple[int, bool]:
        """Golden pattern and overflow."""
        special = np.array(self.special)
        pattern, overflow = convert(np.int64(self.value), np.int64(self.exponent), special, self.format)
        return int(pattern), bool(overflow)

    def kind(self) -> str:
        """What the result is."""
        form, pattern = FORMATS[self.format], self.expected()[0]
        magnitude = pattern & (1 << form.sign_place) - 1
        if magnitude >= form.infinity:
            return "nan" if magnitude > form.infinity else "infinite"
        return "zero" if magnitude == 0 else "subnormal" if magnitude >> form.precision - 1 == 0 else "normal"


def random_value() -> int:
    """Of any length and sign; the extremes, powers of two and their neighbours often."""
    power = 1 << random.randrange(BITS)
    near = power + random.randint(-2, 2)
    value = random.choice((random.randrange(power), near, HALF - 1))
    return max(min(random.choice((-value, value)), HALF - 1), -HALF)


def random_work() -> Work:
    """A sum whose result is anything, near a format's limits mostly."""
    name = random.choice(tuple(FORMATS))
    form, value = FORMATS[name], random_value()
    tiny = 2 - form.bias - form.precision - abs(value).bit_length()
    large = form.bias - abs(value).bit_length()
    exponent = random.choice(
        (
            random.randint(LOWEST, HIGHEST),
            tiny + random.randint(-2, form.precision + 2),
            large + random.randint(-2, 3),
            random.randint(tiny, large),
        )
    )
    return Work(value, exponent, random.random() < 0.05, name)


def ties() -> list[Work]:
    """Values half way between two results, normal and subnormal, with an even and an odd neighbour."""
    works = []
    for name, form in FORMATS.items():
        lowest = 2 - form.bias - form.precision
        for odd in (0, 1):
            kept = 1 << form.precision - 1 | random.getrandbits(form.precision - 1) & ~1 | odd
            few = random.randrange(1 << form.precision - 3) * 2 | odd
            for sign in (-1, 1):
                for off in (-1, 0, 1):
                    for shift in range(2, BITS - form.precision):
                        value = (kept << shift) + (1 << shift - 1) + off
                        works.append(
                            Work(
                                sign * value,
                                random.randint(lowest - shift, form.bias - form.precision - shift),
                                False,
                                name,
                            )
                        )
                        value = (few << shift) + (1 << shift - 1) + off
                        works.append(Work(sign * value, lowest - shift, False, name))
                coverage_tie.hit(format=name, up=bool(odd))
    return works


def directed() -> list[Work]:
    """Zero, the extremes and NaN at every kind of exponent."""
    # Where the exponent field of the topmost place wraps, whatever few bits it is kept in.
    wraps = {(1 << bits) - form.bias - BITS + 2 for form in FORMATS.values() for bits in (8, 9, 10)}
    exponents = (LOWEST, -200, -150, -24, 0, 90, 100, 101, *sorted(wraps), HIGHEST)
    values = (0, 1, -1, HALF - 1, -HALF)
    return [
        Work(value, exponent, special, name)
        for value in values
        for exponent in exponents
        for special in (False, True)
        for name in FORMATS
    ]


def drive(dut: Any, work: Work) -> None:
    """Put one sum at the inputs."""
    dut.value.value = work.value & 2 * HALF - 1
    dut.exponent.value = work.exponent & (1 << len(dut.exponent)) - 1
    dut.special.value = work.special
    dut.format.value = payloads.OutputFormat[work.format.upper()].value


async def check(dut: Any, works: list[Work], halts: bool) -> None:
    """Every work in order, ``advance`` low now and then; garbage at the inputs meanwhile."""
    domain = await reset(dut, cycle_limit=200_000)
    result, overflow = domain.reader("result"), domain.reader("overflow")

    def compare(work: Work) -> None:
        got = result(), bool(overflow())
        assert got == work.expected(), (work, got, work.expected())

    def offer(work: Work | None, _: Work | None) -> None:
        drive(dut, work or random_work())

    await check_pipeline(domain, dut, LATENCY, works, halts, offer, compare)
    for work in works:
        sign = work.value < 0
        coverage.hit(format=work.format, kind=work.kind(), negative=sign)
    errors.reported({"overflow": sum(work.expected()[1] for work in works)})


@cocotb.test()
@cocotb.parametrize(halts=(False, True))
async def any_value(dut: Any, halts: bool) -> None:
    """Random sums, with and without halts."""
    await check(dut, [random_work() for _ in range(COUNT)], halts)


@cocotb.test()
async def special_cases(dut: Any) -> None:
    """Ties and their neighbours, zeros, extremes and NaN."""
    works = [*directed(), *ties()]
    random.shuffle(works)
    await check(dut, works, False)
