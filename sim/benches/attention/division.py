"""Division: every quotient equal to the golden one, whatever the stalls."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.attention import widths
from golden.attention.division import divided
from hw.attention.division import LATENCY, PACE, PREPARATION
from hw.attention.payloads import divisor, quotient, value_sum
from sim import context
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

COUNT: int = context.parameters()["queries"]
MOST_TOTAL = 1 << 49
MOST_SUM = (1 << widths.SUM_BITS - 1) - 1
NAN = 0x7E00
KINDS = ("zero", "subnormal", "normal", "largest", "nan")
coverage = Coverage(
    "attention_division",
    {"kind": KINDS, "negative": (False, True)},
    lambda kind, negative: negative and kind == "nan",
)
coverage_rate = Coverage("attention_division_rate", {"between": ("sums", "queries")})
coverage_empty = Coverage("attention_division_empty", {"empty": (False, True)})


class Bench:
    """The division with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.board = Scoreboard("quotients", quotient)
        self.divisors = StreamSource(domain, "divisors", divisor, where.source)
        self.sums = StreamSource(domain, "sums", value_sum, where.source)
        self.sink = StreamSink(domain, "quotients", quotient, where.sink, where.sink_waits, self._observe)
        self.wanted = 0

    def _observe(self, bits: int) -> None:
        self.board.observe(bits)

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self.board = Scoreboard("quotients", quotient)
        self.wanted = self.sink.count

    def send(self, total: int, top: int, special: bool, sums: list[int]) -> None:
        """A query's numbers, and its quotients."""
        error = random.random() < 0.3
        maximum = random.randrange(-1 << 19, 1 << 19)
        self.divisors.send(
            {"maximum": maximum, "total": total, "top": top, "special": special, "error": error}
        )
        exponent = np.array([widths.sum_exponent(top)])
        found = divided(np.array([sums], np.int64), exponent, np.array([total]))[0]
        halves = [NAN] * len(sums) if special else found.view(np.uint16).tolist()
        for number, (value, half) in enumerate(zip(sums, halves, strict=True)):
            last = number == len(sums) - 1
            self.sums.send({"sum": value, "last": last})
            self.board.expect({"half": half, "empty": total == 0, "error": error, "last": last})
            coverage.hit(kind=_kind(half), negative=half >> 15 == 1)
        coverage_empty.hit(empty=total == 0)
        self.wanted += len(sums)

    async def finish(self) -> None:
        """Wait for every quotient and see that no other comes."""
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(20)
        self.board.finish()


def _kind(half: int) -> str:
    magnitude = half & 0x7FFF
    if magnitude >= 0x7BFF:
        return "nan" if magnitude > 0x7C00 else "largest"
    return "zero" if magnitude == 0 else "subnormal" if magnitude < 0x400 else "normal"


def random_integer(most: int) -> int:
    """Of any length; powers of two, their neighbours and the extremes often."""
    power = 1 << random.randrange(most.bit_length())
    value = random.choice((random.randrange(power), power + random.randint(-2, 2), most, power - 1))
    return max(min(value, most), 0)


def random_sum(total: int, top: int) -> int:
    """Its quotient is anything: near float16's limits, half way between two numbers, or of any length."""
    wanted = random.choice((2.0**-25, 2.0**-24, 2.0**-14, 1.0, 65504.0, 65520.0))
    near = wanted * total * 2.0 ** (6 - top) * random.choice((1, 1.0001, 0.9999, random.uniform(0.5, 2)))
    half = (2 * random.randrange(1 << 11, 1 << 12) + 1 << random.randrange(38)) + random.randint(-1, 1)
    value = random.choice((random_integer(MOST_SUM), min(int(near), MOST_SUM), half))
    return random.choice((-1, 1)) * value


def send_random(bench: Bench, length: int) -> None:
    """A query of so many elements."""
    total = random.choice((random_integer(MOST_TOTAL), 1 << random.randrange(50), 0))
    top, special = random.choice((1, 30, random.randint(1, 30))), random.random() < 0.1
    sums = [random_sum(total, top) if total else 0 for _ in range(length)]
    bench.send(total, top, special, sums)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_query(dut: Any, stalls: str) -> None:
    """Queries of any sums, divisors and lengths."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    for _ in range(COUNT):
        send_random(bench, random.choice((1, 2, 32, random.randint(3, 64))))
    await bench.finish()


@cocotb.test()
async def extremes(dut: Any) -> None:
    """The largest and smallest sums and divisors, exact powers of two among them, at every ``top``."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    totals = (1, 2, 3, (1 << 16) + 1, (1 << 17) - 1, 1 << 32, MOST_TOTAL - 1, MOST_TOTAL)
    sums = [0, 1, -1, (1 << 16) - 1, -(1 << 16), (1 << 17) - 1, -(1 << 49), MOST_SUM, -MOST_SUM]
    for total, top in itertools.product(totals, (1, 15, 30)):
        bench.send(total, top, False, sums)
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere nothing of the queries before is left."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "both_random")
    for _ in range(10):
        send_random(bench, 12)
        await bench.domain.cycles(random.randint(1, 60))
        await bench.reset()
        send_random(bench, 12)
        await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A quotient every ``PACE`` cycles; the next query's first one as late as documented."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    arrived: list[int] = []
    StreamMonitor(bench.domain, "quotients", quotient, lambda _: arrived.append(bench.domain.cycle))
    for _ in range(3):
        send_random(bench, 10)
    await bench.finish()
    gaps = [after - before for before, after in itertools.pairwise(arrived)]
    between = [*[PACE] * 9, PACE * (PREPARATION + LATENCY)]
    assert gaps == [*between, *between, *between[:-1]], gaps
    for name in ("sums", "queries"):
        coverage_rate.hit(between=name)
