"""Importance: every sum equal to golden, whatever the scores, the lists and the stalls."""

import itertools
import random
from typing import Any, NamedTuple

import cocotb
import numpy as np

from golden.attention import widths
from golden.selection.importance import LARGEST, accumulate
from hw.attention.payloads import score_beat, softmax_state
from hw.config import Config
from hw.selection.importance import LATENCY, PREPARATION
from hw.selection.normaliser import MOST_CYCLES
from hw.selection.payloads import importance_page, importance_sum
from sim import context
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["lists"]
TOKENS = config.kv.page_tokens
QUERIES = config.kv.queries
MOST_SCORE = -widths.LOWEST - 1 << widths.SCORE_FRACTION

KINDS = ("softmax", "equal", "peak", "powers", "above", "far", "empty")
coverage = Coverage("importance", {"scores": KINDS, "fresh": (False, True)})
coverage_queries = Coverage("importance_queries", {"queries": tuple(range(1, QUERIES + 1))})
coverage_sums = Coverage("importance_sums", {"sum": ("unchanged", "more", "largest", "cleared")})
coverage_rate = Coverage("importance_rate", {"between": ("scores", "queries", "pages", "lists")})
coverage_stalls = Coverage("importance_stalls", {"situation": SITUATIONS})


class List(NamedTuple):
    """Scores [N, T] of whole pages, and the final state of the queries."""

    scores: np.ndarray
    maximum: np.ndarray
    total: np.ndarray


class Bench:
    """The unit with its streams."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.board = Scoreboard("after", importance_sum)
        self.scored: list[int] = []
        self.summed: list[int] = []
        self.pages = StreamSource(domain, "pages", importance_page(config), where.source)
        self.states = StreamSource(domain, "states", softmax_state(config), where.source)
        self.scores = StreamSource(
            domain, "scores", score_beat, where.source, lambda _: self.scored.append(domain.cycle)
        )
        self.before = StreamSource(domain, "before", importance_sum, where.source)
        self.after = StreamSink(domain, "after", importance_sum, where.sink, where.sink_waits, self._observe)
        self.wanted = 0

    def _observe(self, bits: int) -> None:
        self.summed.append(self.domain.cycle)
        self.board.observe(bits)

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self.board = Scoreboard("after", importance_sum)
        self.wanted = self.after.count

    def send(self, found: List, fresh: bool | None = None) -> None:
        """All pages of a list."""
        queries, tokens = found.scores.shape
        coverage_queries.hit(queries=queries)
        for query, (maximum, total) in enumerate(
            zip(found.maximum.tolist(), found.total.tolist(), strict=True)
        ):
            self.states.send({"query": query, "maximum": maximum, "total": total})
        for first in range(0, tokens, TOKENS):
            new = random.random() < 0.3 if fresh is None else fresh
            self._page(found, first, new)

    def _page(self, found: List, first: int, fresh: bool) -> None:
        scores = found.scores[:, first : first + TOKENS]
        live = np.random.default_rng(random.getrandbits(32)).random(TOKENS) < random.choice((0.5, 1, 1))
        before = [] if fresh else random_sums()
        self.pages.send(
            {
                "last_query": len(scores) - 1,
                "opens": first == 0,
                "fresh": fresh,
                "live": sum(1 << token for token in np.flatnonzero(live).tolist()),
            }
        )
        for query, token in itertools.product(range(len(scores)), range(TOKENS)):
            self.scores.send({"score": int(scores[query, token]), "last": token == TOKENS - 1})
        self.before.send_all({"sum": value, "last": random.getrandbits(1)} for value in before)
        after = accumulate(before, scores, found.maximum, found.total, live).tolist()
        self.board.expect_all(
            {"sum": value, "last": number == TOKENS - 1} for number, value in enumerate(after)
        )
        self.wanted += TOKENS
        for value, old, there in zip(after, before or [0] * TOKENS, live.tolist(), strict=True):
            kinds = {0: "cleared"} if not there else {old: "unchanged", LARGEST: "largest"}
            coverage_sums.hit(sum=kinds.get(value, "more"))

    async def finish(self) -> None:
        """Wait for every sum, and see that no other comes and nothing is left."""
        await self.after.wait_for(self.wanted)
        for source in (self.pages, self.states, self.scores, self.before):
            await source.drained()
        await self.domain.cycles(20)
        self.board.finish()


def random_sums() -> list[int]:
    """Sums of any length, some close to the largest."""
    return [
        random.choice((0, random.getrandbits(random.randint(1, 32)), LARGEST - random.getrandbits(16)))
        for _ in range(TOKENS)
    ]


def states_of(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum and sum of weights that such scores have."""
    maximum = -(-scores.max(1) >> widths.SCORE_FRACTION)
    powers = np.exp2(scores / (1 << widths.SCORE_FRACTION) - maximum[:, None])
    return maximum, np.rint(powers.sum(1) * (1 << widths.TOTAL_FRACTION)).astype(np.int64)


def random_list(kind: str, queries: int, pages: int) -> List:
    """Scores as attention has them; or states that do not belong to them."""
    rng = np.random.default_rng(random.getrandbits(32))
    shape = (queries, pages * TOKENS)
    if kind in ("softmax", "equal", "peak"):
        spread = {"softmax": 12000, "equal": 0, "peak": 3000}[kind]
        scores = np.rint(rng.normal(0, spread, shape) + rng.normal(0, 1e6, (queries, 1))).astype(np.int64)
        if kind == "peak":
            scores[:, rng.integers(shape[1])] += 1 << 18
        return List(scores, *states_of(scores))
    scores = rng.integers(-MOST_SCORE, MOST_SCORE + 1, shape)
    maximum = rng.integers(widths.LOWEST, -widths.LOWEST, queries)
    powers = (1 << rng.integers(0, 50, queries)) + rng.integers(-1, 2, queries)
    total = np.clip(powers, 1, 1 << 49)
    if kind == "powers":
        scores = (maximum << 12)[:, None] + rng.integers(-40 << 12, 1, shape)
    if kind == "above":
        scores = np.minimum((maximum << 12)[:, None] + rng.integers(-1, 200, shape), MOST_SCORE)
        total[:] = 1 << 32
    if kind == "empty":
        maximum[:], total[:] = widths.LOWEST, 0
        scores[:, ::3] = MOST_SCORE
    return List(scores, maximum, total)


def send_random(bench: Bench, kind: str | None = None, queries: int | None = None, pages: int = 2) -> None:
    chosen = random.choice(KINDS) if kind is None else kind
    found = random_list(chosen, random.randint(1, QUERIES) if queries is None else queries, pages)
    for fresh in (False, True):
        coverage.hit(scores=chosen, fresh=fresh)
        bench.send(found, fresh)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=2_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    """Scores of every kind, for every number of queries."""
    bench = await start(dut)
    for number in range(max(COUNT, QUERIES)):
        send_random(bench, kind, number % QUERIES + 1, 1)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(2):
        send_random(bench, pages=random.randint(1, 3))
    coverage_stalls.hit(situation=stalls)
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    bench = await start(dut, "both_random")
    for _ in range(6):
        send_random(bench)
        await bench.domain.cycles(random.randint(1, 400))
        await bench.reset()
        send_random(bench, pages=1)
        await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A score a cycle through all pages of a list, and sums as soon as documented: nobody waits for them."""
    bench = await start(dut)
    found = random_list("softmax", QUERIES, 3)
    for _ in range(2):
        bench.send(found, False)
    await bench.finish()
    length = 3 * QUERIES * TOKENS
    for own in (bench.scored[:length], bench.scored[length:]):
        assert own[-1] - own[0] == length - 1
    final = [cycle for place, cycle in enumerate(bench.scored) if place // TOKENS % QUERIES == QUERIES - 1]
    assert bench.summed == [cycle + LATENCY for cycle in final]
    bits = [int(total).bit_length() for total in found.total]
    work = sum(MOST_CYCLES + 1 - count for count in bits)
    pause = bench.scored[length] - bench.scored[length - 1]
    assert pause == work + PREPARATION, (pause, work)
    for name in coverage_rate.axes["between"]:
        coverage_rate.hit(between=name)
