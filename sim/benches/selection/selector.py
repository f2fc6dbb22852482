"""Selector: every bitmap equal to golden, whatever the scores, the request and the stalls."""

import itertools
import random
from fractions import Fraction
from typing import Any, NamedTuple

import cocotb
import numpy as np

from golden.selection import top_k, top_p
from hw.config import Config
from hw.selection.payloads import (
    MOST_TOKENS,
    SHARE_BITS,
    Measure,
    found_tokens,
    score_lanes,
    score_pass,
    score_words,
    selected_tokens,
    selection_request,
)
from hw.selection.selector import cycles
from sim import context
from sim.benches.selection.passes import PassBench
from sim.benches.selection.score_sets import KINDS, MOST, random_scores, words_of
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["requests"]
LANES = score_lanes(config)

AMOUNTS = ("none", "least", "some", "most", "all", "beyond")
MEASURES = tuple(measure.name.lower() for measure in Measure)
coverage = Coverage("selector", {"scores": KINDS, "measure": MEASURES, "lowest": (False, True)})
coverage_amount = Coverage(
    "selector_amount",
    {"amount": AMOUNTS, "measure": MEASURES},
    lambda amount, measure: amount == "beyond" and measure == "share",
)
coverage_passes = Coverage(
    "selector_passes",
    {"measure": MEASURES, "passes": (1, 2, 3, 4, 5)},
    lambda measure, passes: measure == "share" and passes not in (2, 5),
)
coverage_words = Coverage("selector_words", {"last": tuple(range(1, LANES + 1))})
coverage_rate = Coverage(
    "selector_rate",
    {"measure": MEASURES, "digits": (0, 1, 2, 3, 4)},
    lambda measure, digits: measure == "share" and digits not in (1, 4),
)
coverage_stalls = Coverage("selector_stalls", {"situation": SITUATIONS, "measure": MEASURES})
errors = ErrorPlan("selector")
SHAPES = {
    "requests": selection_request,
    "passes": score_pass,
    "scores": score_words(config),
    "selected": selected_tokens(config),
    "found": found_tokens,
}


class Request(NamedTuple):
    """What is asked for, of which scores."""

    scores: np.ndarray
    measure: Measure
    amount: int
    lowest: bool
    tokens: int | None = None
    """Says another number than there are scores."""

    @property
    def fields(self) -> dict[str, Any]:
        tokens = len(self.scores) if self.tokens is None else self.tokens
        return {"tokens": tokens, "measure": self.measure, "amount": self.amount, "lowest": self.lowest}

    @property
    def bad(self) -> bool:
        return (self.tokens or 0) > MOST_TOKENS or (
            self.measure is Measure.SHARE and self.amount > 1 << SHARE_BITS
        )

    def chosen(self) -> np.ndarray:
        if self.measure is Measure.COUNT:
            return top_k(self.scores, self.amount, self.lowest)
        return top_p(self.scores, Fraction(self.amount, 1 << SHARE_BITS), self.lowest)


class Bench(PassBench):
    """The selector with its memory of scores."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        super().__init__(domain, stalls, "scores", SHAPES, errors, coverage_words, at_once=False)
        self.passes_of: list[int] = []

    def ended(self, request: Request, passes: int) -> None:
        coverage_passes.hit(measure=request.measure.name.lower(), passes=passes)
        self.passes_of.append(passes)

    def send(self, request: Request) -> None:
        """A request and what comes of it."""
        self.requests.send(request.fields)
        if request.bad:
            self.expect({"count": 0, "first": 0, "error": True})
            return
        chosen = request.chosen()
        count = int(chosen.sum())
        self.expect({"count": count, "first": int(chosen.argmax()) if count else 0, "error": False})
        if len(chosen):
            words = words_of(request.scores, LANES)
            self.memory.append((request, lambda: words))
            self.expect_bitmap(chosen, LANES)


def random_amount(amount: str, measure: Measure, count: int) -> int:
    """How many of so many tokens, or which share."""
    coverage_amount.hit(amount=amount, measure=measure.name.lower())
    whole = count if measure is Measure.COUNT else 1 << SHARE_BITS
    least = min(1, whole)
    return {
        "none": 0,
        "least": least,
        "some": random.randint(least, whole),
        "most": max(whole - 1, 0),
        "all": whole,
        "beyond": random.randint(whole, 2 * MOST_TOKENS - 1),
    }[amount]


def random_count() -> int:
    return random.choice((1, random.randint(1, 3 * LANES), random.randint(1, 40 * LANES)))


def random_request(kind: str, measure: Measure, lowest: bool, count: int) -> Request:
    amounts = [name for name in AMOUNTS if measure is Measure.COUNT or name != "beyond"]
    amount = random_amount(random.choice((*amounts, "some", "some", "some")), measure, count)
    coverage.hit(scores=kind, measure=measure.name.lower(), lowest=lowest)
    return Request(random_scores(kind, count), measure, amount, lowest)


def any_request(count: int | None = None) -> Request:
    size = random_count() if count is None else count
    return random_request(random.choice(KINDS), random.choice(tuple(Measure)), random.random() < 0.5, size)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=3_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    """Scores of a kind, by count and by share, from either end."""
    bench = await start(dut)
    for _ in range(COUNT):
        for measure in Measure:
            for lowest in (False, True):
                bench.send(random_request(kind, measure, lowest, random_count()))
    await bench.finish()


@cocotb.test()
async def every_amount(dut: Any) -> None:
    """None, all, more than all, and what is next to these; no token at all."""
    bench = await start(dut)
    for amount in AMOUNTS:
        for measure in Measure:
            if amount == "beyond" and measure is Measure.SHARE:
                continue
            for count in (0, 1, LANES, random_count()):
                chosen = random_amount(amount, measure, count)
                bench.send(Request(random_scores("few", count), measure, chosen, random.random() < 0.5))
    await bench.finish()


@cocotb.test()
async def every_order(dut: Any) -> None:
    """All orders that up to three scores can have, equal ones included, and all numbers of them: the count
    is the number wanted, or all.
    """
    bench = await start(dut)
    for count in range(1, 4):
        for ranks in itertools.product(range(count), repeat=count):
            if {*ranks} != {*range(max(ranks) + 1)}:
                continue  # another one has this order
            values = np.sort(np.unique(random_scores("any", 4 * count)))[:count]
            for amount, lowest in itertools.product(range(count + 2), (False, True)):
                request = Request(values[list(ranks)], Measure.COUNT, amount, lowest)
                assert request.chosen().sum() == min(amount, count)
                bench.send(request)
    await bench.finish()


@cocotb.test()
async def one_victim(dut: Any) -> None:
    """The least score of many: the answer's ``first`` is its place."""
    bench = await start(dut)
    for number, kind in enumerate(KINDS):
        count = LANES * random.randint(1, 20) + number % LANES
        bench.send(Request(random_scores(kind, count), Measure.COUNT, 1, True))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for measure in Measure:
        bench.send(random_request("few", measure, False, random_count()))
        bench.send(random_request(random.choice(KINDS), measure, True, random_count()))
        coverage_stalls.hit(situation=stalls, measure=measure.name.lower())
    await bench.finish()


@cocotb.test()
async def most_tokens(dut: Any) -> None:
    """As many of the largest scores as there may be: no sum overflows."""
    bench = await start(dut)
    bench.send(Request(np.full(MOST_TOKENS, MOST, np.uint32), Measure.SHARE, (1 << SHARE_BITS) - 1, False))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_requests(dut: Any, spacing: str) -> None:
    """Too many tokens, or too large a share: an answer that says so, and the next request as ever."""
    bench = await start(dut)
    few = np.zeros(1, np.uint32)

    def too_many() -> None:
        bench.send(
            Request(few, Measure.COUNT, 1, False, tokens=random.randint(MOST_TOKENS + 1, 2 * MOST_TOKENS - 1))
        )

    def too_much() -> None:
        bench.send(
            Request(few, Measure.SHARE, random.randint((1 << SHARE_BITS) + 1, (2 << SHARE_BITS) - 1), False)
        )

    acts = every_pair([too_many, too_much, lambda: bench.send(any_request())])
    await send_spaced(bench.domain, [bench.requests], acts, spacing)
    await bench.finish()
    bench.errors.expect({"error_request": sum(act in (too_many, too_much) for act in acts)}, spacing)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset anywhere leaves nothing behind, no count in any bin."""
    bench = await start(dut, "both_random")
    for _ in range(4):
        bench.send(any_request(20 * LANES))
        bench.send(any_request(20 * LANES))
        await bench.domain.cycles(random.randint(1, 1500))
        await bench.reset()
        bench.send(any_request())
        await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A word of scores a cycle, all in the same bin, and few cycles more for each pass."""
    bench = await start(dut)
    count = 30 * LANES
    equal = np.full(count, random.getrandbits(32) | 1, np.uint32)
    digits_differ = [np.arange(count, dtype=np.uint32) << 24 - 8 * place for place in range(3)]
    bench.send(any_request())  # ahead of which the bins are cleared
    for measure, digits, scores, amount in (
        (Measure.COUNT, 0, equal, count),
        *((Measure.COUNT, number + 1, digits_differ[number], count // 3) for number in range(3)),
        (Measure.COUNT, 4, equal, count // 3),
        (Measure.SHARE, 1, equal, 0),
        (Measure.SHARE, 4, equal, 1 << SHARE_BITS - 1),
    ):
        bench.send(Request(scores, measure, amount, False))
        await bench.finish()
        assert bench.passes_of[-1] == digits + 1
        assert bench.times[-1] - bench.taken[-1] == cycles(count // LANES, digits, measure)
        coverage_rate.hit(measure=measure.name.lower(), digits=digits)
    dut._log.info(f"{count} scores, {LANES} a cycle: {bench.times[-1] - bench.taken[-1]} cycles")
