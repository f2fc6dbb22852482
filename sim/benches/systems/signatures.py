"""Signatures: every bitmap equal to golden, whatever the signatures, the request and the stalls."""

import random
from typing import Any

import cocotb
import numpy as np

from hw.config import Config
from hw.selection.payloads import MOST_TOKENS, score_lanes, selected_tokens
from hw.systems.payloads import (
    SIGNATURE_BITS,
    Anchor,
    representatives_found,
    signature_pass,
    signature_request,
    signature_words,
)
from hw.systems.signatures import cycles
from sim import context
from sim.benches.selection.passes import PassBench
from sim.benches.systems.signature_sets import (
    KINDS,
    POPULATIONS,
    Request,
    random_mask,
    random_signatures,
)
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["requests"]
LANES = score_lanes(config)

ANCHORS = tuple(anchor.name.lower() for anchor in Anchor)
BUDGETS = ("none", "one", "some", "most", "all", "beyond")
coverage = Coverage("signatures", {"signatures": KINDS, "anchor": ANCHORS})
coverage_budget = Coverage("signatures_budget", {"budget": BUDGETS, "candidates": POPULATIONS})
coverage_words = Coverage("signatures_words", {"last": tuple(range(1, LANES + 1))})
coverage_bits = Coverage("signatures_bits", {"bits": tuple(range(1, SIGNATURE_BITS + 1))})
coverage_rate = Coverage("signatures_rate", {"anchor": ANCHORS, "budget": ("none", "few", "all")})
coverage_stalls = Coverage("signatures_stalls", {"situation": SITUATIONS})
errors = ErrorPlan("signatures")
SHAPES = {
    "requests": signature_request,
    "passes": signature_pass,
    "signatures": signature_words(config),
    "selected": selected_tokens(config),
    "found": representatives_found,
}


class Bench(PassBench):
    """The circuit with its memory of signatures."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        super().__init__(domain, stalls, "signatures", SHAPES, errors, coverage_words, at_once=True)

    def ended(self, request: Request, passes: int) -> None:
        assert passes == 2 + (request.anchor is Anchor.MEAN)

    def send(self, request: Request) -> None:
        """A request and what comes of it."""
        self.requests.send(request.fields)
        if request.bad:
            self.expect({"candidates": 0, "count": 0, "error": True})
            return
        chosen = request.chosen()
        candidates = int(request.candidates.sum())
        self.expect({"candidates": candidates, "count": int(chosen.sum()), "error": False})
        if len(chosen):
            self.memory.append((request, lambda: request.words(LANES)))  # other ones behind the last token
            self.expect_bitmap(chosen, LANES)
            coverage_bits.hit(bits=request.bits)


def random_request(
    kind: str, anchor: Anchor, budget: str | None = None, population: str | None = None, count: int = 0
) -> Request:
    count = count or random.choice((random.randint(1, 3 * LANES), random.randint(1, 20 * LANES)))
    budget = budget or random.choice((*BUDGETS, "some", "some"))
    population = population or random.choice((*POPULATIONS, "some"))
    candidates = random_mask(population, count)
    total = int(candidates.sum())
    coverage.hit(signatures=kind, anchor=anchor.name.lower())
    coverage_budget.hit(budget=budget, candidates=population)
    amount = {
        "none": 0,
        "one": 1,
        "some": random.randint(1, max(total // 2, 1)),
        "most": random.randint(total // 2, total),
        "all": total,
        "beyond": random.choice((total + 1, random.randint(total + 1, 2 * MOST_TOKENS - 1))),
    }[budget]
    counted = random_mask(random.choice(POPULATIONS[2:]), count)
    bits = random.choice((SIGNATURE_BITS, random.randint(1, SIGNATURE_BITS)))
    given = random.getrandbits(32)
    return Request(random_signatures(kind, count), counted, candidates, amount, bits, anchor, given)


def any_request() -> Request:
    return random_request(random.choice(KINDS), random.choice(tuple(Anchor)))


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=1_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    """Signatures of a kind, from every anchor."""
    bench = await start(dut)
    for _ in range(COUNT):
        for anchor in Anchor:
            bench.send(random_request(kind, anchor))
    await bench.finish()


@cocotb.test()
async def every_budget(dut: Any) -> None:
    """None, all, more than there are, of none, one, some and all tokens; no token at all."""
    bench = await start(dut)
    nothing = np.zeros(0, np.uint32)
    for budget in BUDGETS:
        for population in POPULATIONS:
            bench.send(random_request("thermometer", Anchor.ONES, budget, population))
        bench.send(Request(nothing, nothing > 0, nothing > 0, random.randint(0, 2), 1, Anchor.MEAN, 0))
    await bench.finish()


@cocotb.test()
async def every_division(dut: Any) -> None:
    """Few candidates and all budgets up to one more than there are: all strides and remainders."""
    bench = await start(dut)
    for count in range(1, 2 + 4 * COUNT):
        for budget in range(count + 2):
            values = random_signatures(random.choice(("few", "thermometer")), count)
            every = np.ones(count, bool)
            bench.send(Request(values, every, every, budget, SIGNATURE_BITS, Anchor.ZEROS, 0))
    await bench.finish()


@cocotb.test()
async def every_width(dut: Any) -> None:
    """Bits of signatures that do not count change nothing, whatever the anchor."""
    bench = await start(dut)
    anchors = list(Anchor)
    every = np.ones(5, bool)
    for bits in range(1, SIGNATURE_BITS + 1):
        values, given = random_signatures("any", 5), random.getrandbits(32)
        bench.send(Request(values, every, every, 2, bits, anchors[bits % len(anchors)], given))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    bench.send(random_request("few", Anchor.MEAN, "some", "all"))
    bench.send(random_request("any", Anchor.GIVEN, "most", "some"))
    bench.send(any_request())
    coverage_stalls.hit(situation=stalls)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_requests(dut: Any, spacing: str) -> None:
    """Too many tokens: an answer that says so, and the next request as ever."""
    bench = await start(dut)
    few = np.zeros(1, np.uint32)

    def too_many() -> None:
        tokens = random.randint(MOST_TOKENS + 1, 2 * MOST_TOKENS - 1)
        bench.send(Request(few, few == 0, few == 0, 1, 1, Anchor.MEAN, 0, tokens))

    acts = every_pair([too_many, lambda: bench.send(any_request())])
    await send_spaced(bench.domain, [bench.requests], acts, spacing)
    await bench.finish()
    bench.errors.expect({"error_request": sum(act is too_many for act in acts)}, spacing)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset anywhere leaves nothing behind, no count of any distance."""
    bench = await start(dut, "both_random")
    for _ in range(4):
        bench.send(any_request())
        bench.send(any_request())
        await bench.domain.cycles(random.randint(1, 600))
        await bench.reset()
        bench.send(any_request())
        await bench.finish()


@cocotb.test()
async def most_tokens(dut: Any) -> None:
    """As many as there may be, all equal: no count overflows."""
    bench = await start(dut)
    values, every = random_signatures("equal", MOST_TOKENS), np.ones(MOST_TOKENS, bool)
    bench.send(Request(values, every, every, random.randint(1, 999), SIGNATURE_BITS, Anchor.MEAN, 0))
    await bench.finish()


async def measured(bench: Bench, kind: str, count: int, budget: int, anchor: Anchor, every: int = 1) -> int:
    """Cycles of a request of which each of so many tokens is a candidate: as many as stated."""
    given, mask = random.getrandbits(32), np.arange(count) % every == 0
    values = random_signatures(kind, count)
    request = Request(values, np.ones(count, bool), mask, budget, SIGNATURE_BITS, anchor, given)
    bench.send(request)
    await bench.finish()
    amounts = np.bincount(request.distances(), minlength=SIGNATURE_BITS + 1).tolist()
    found = bench.times[-1] - bench.taken[-1]
    assert found == cycles(config, count, amounts, budget, anchor), (anchor, budget)
    return found


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A signature a cycle, all of the same distance or each of another, and few cycles more for a pass."""
    bench = await start(dut)
    count = 12 * LANES - 1
    for anchor in Anchor:
        for name, budget in {"none": 0, "few": 3, "all": count}.items():
            await measured(bench, random.choice(("any", "equal")), count, budget, anchor)
            coverage_rate.hit(anchor=anchor.name.lower(), budget=name)


@cocotb.test()
async def long_context(dut: Any) -> None:
    """4,096 tokens one by one, and as 128 blocks of 32."""
    bench = await start(dut)
    for anchor in (Anchor.ALTERNATING, Anchor.MEAN):
        for count, budget in ((4096, 256), (128, 8)):
            found = await measured(bench, "any", count, budget, anchor, every=2)
            dut._log.info(f"{count} signatures, {budget} chosen, anchor {anchor.name}: {found} cycles")
