"""Rescale unit: contributions equal to golden ones, whatever the shift, however the pipeline halts."""

import random
from dataclasses import asdict, dataclass
from typing import Any

import cocotb
import numpy as np

from golden.pe.rescale import contribution
from hw import payloads
from hw.config import Config
from hw.pe.rescale_unit import latency
from sim import context
from sim.coverage import Coverage
from sim.pipelines import check_pipeline
from sim.streams import reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["count"]
LIMIT = (1 << config.amount_bits) - 1
MOST_SUM = config.group * config.largest_activation
MOST_DOT = MOST_SUM * max(entry.largest for entry in config.datatypes)
HALF_ZERO = 1 << config.zero_point_bits - 1
HALF_MANTISSA = 1 << payloads.MANTISSA_BITS
OFFSETS = ((0, 0),)
if config.offset_passes == 1:
    OFFSETS = (
        (-HALF_MANTISSA, 0),
        (HALF_MANTISSA - 1, LIMIT),
        (-1, config.headroom),
        (1, config.headroom + 1),
    )
"""Extreme offsets with their shifts."""

coverage = Coverage("rescale_unit", {"result": ("negative", "zero", "positive"), "halts": (False, True)})
coverage_amount = Coverage("rescale_unit_amount", {"amount": ("zero", "middle", "limit")})


@dataclass
class Work:
    """Inputs of one contribution, the dot product still without its bias."""

    dot: int
    sum: int
    zero_point: int
    mantissa: int
    amount: int
    offset: int
    offset_amount: int

    @property
    def fits(self) -> bool:
        """Whether the operand is one that a group can have."""
        return abs(self.dot + self.zero_point * self.sum) < 1 << config.operand_bits - 1

    def expected(self) -> int:
        """The contribution, its two products each rounded down."""
        total = _part(self.dot + self.zero_point * self.sum, self.mantissa, self.amount)
        if config.offset_passes == 1:
            total += _part(self.sum, self.offset, self.offset_amount)
        return total


def _part(operand: int, mantissa: int, amount: int) -> int:
    """One product, from plain integers; the golden model must agree where it is not beyond int64."""
    exact = (mantissa * operand << config.headroom) >> amount
    reach = config.numerics.alignment - config.headroom
    golden = contribution(np.int64(operand), np.int64(mantissa), np.int64(amount), reach, config.numerics)
    assert int(golden) == exact or abs(exact) >= 1 << 62
    return exact


def random_integer(largest: int) -> int:
    """Of any magnitude up to the largest."""
    value = random.randint(0, 1 << random.randint(0, largest.bit_length())) % (largest + 1)
    return random.choice((-value, value))


def random_work() -> Work:
    """A contribution of any magnitude."""
    while True:
        work = Work(
            random_integer(MOST_DOT),
            random_integer(MOST_SUM),
            random.choice((0, 1, random.randrange(-HALF_ZERO, HALF_ZERO))),
            random.randrange(-HALF_MANTISSA, HALF_MANTISSA),
            random.choice((0, config.headroom, LIMIT, *range(LIMIT + 1))),
            random.randrange(-HALF_MANTISSA, HALF_MANTISSA),
            random.choice((0, config.headroom, LIMIT, *range(LIMIT + 1))),
        )
        if work.fits:
            return work


def extreme_works() -> list[Work]:
    """All combinations of extreme inputs."""
    works = [
        Work(dot, total, zero_point, mantissa, amount, offset, offset_amount)
        for dot in (-MOST_DOT, -1, 0, MOST_DOT)
        for total in (-MOST_SUM, MOST_SUM)
        for zero_point in (-HALF_ZERO, -1, 0, HALF_ZERO - 1)
        for mantissa in (-HALF_MANTISSA, -1, 0, 1, HALF_MANTISSA - 1)
        for amount in (0, config.headroom, config.headroom + 1, LIMIT)
        for offset, offset_amount in OFFSETS
    ]
    return [work for work in works if work.fits]


def drive(dut: Any, work: Work, before: Work) -> None:
    """Put a contribution at the inputs, its dot product with any bias, and the amounts of the one before."""
    bias = random.getrandbits(config.product_bits)
    dut.bias.value = bias
    values = asdict(work) | {"dot": (work.dot + bias) % (1 << config.product_bits)}
    values |= {name: value for name, value in asdict(before).items() if name.endswith("amount")}
    for name in values if config.offset_passes == 1 else [name for name in values if "offset" not in name]:
        port, value = getattr(dut, name), values[name]
        port.value = value & (1 << len(port)) - 1


async def check(dut: Any, works: list[Work], halts: bool) -> None:
    """Every work in order, ``advance`` low now and then; garbage at the inputs meanwhile."""
    domain = await reset(dut, cycle_limit=200_000)
    read, mask = domain.reader("contribution"), (1 << config.accumulator_bits) - 1

    def compare(work: Work) -> None:
        exact = work.expected()
        assert read() == exact & mask, (work, read(), exact & mask)

    def offer(work: Work | None, before: Work | None) -> None:
        drive(dut, work or random_work(), before or random_work())

    await check_pipeline(domain, dut, latency(config), works, halts, offer, compare)
    for work in works:
        value = work.expected()
        sign = "zero" if value == 0 else "negative" if value < 0 else "positive"
        coverage.hit(result=sign, halts=halts)
        amount = {0: "zero", LIMIT: "limit"}.get(work.amount, "middle")
        coverage_amount.hit(amount=amount)


@cocotb.test()
@cocotb.parametrize(halts=(False, True))
async def any_work(dut: Any, halts: bool) -> None:
    """Random contributions, with and without halts."""
    await check(dut, [random_work() for _ in range(COUNT)], halts)


@cocotb.test()
async def extremes(dut: Any) -> None:
    """Largest and smallest of everything, at the shifts where a result changes its nature."""
    works = extreme_works()
    random.shuffle(works)
    await check(dut, works[:COUNT], False)
