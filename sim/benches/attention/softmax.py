"""Softmax: scores, weights, maxima and sums of weights equal to golden ones, whatever the stalls."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from hw.attention.payloads import (
    maximum_move,
    offset_term,
    score_beat,
    score_page,
    softmax_state,
    weight_beat,
    weight_request,
)
from hw.attention.softmax import CLOSE_CYCLES, LATENCY, MOVE_CYCLES
from hw.config import Config
from hw.payloads import result
from sim import context
from sim.benches.attention.score_pages import KINDS, VALID, Page, Queries, random_page
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.stalls import Pattern, bursts
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
INPUTS = {
    "pages": score_page(config),
    "results": result(config),
    "terms": offset_term,
    "requests": weight_request(config),
}
OUTPUTS = {
    "moves": maximum_move(config),
    "scores": score_beat,
    "states": softmax_state(config),
    "weights": weight_beat(config),
}

coverage = Coverage("attention_softmax", {"kind": KINDS, "valid": VALID})
coverage_moves = Coverage("attention_softmax_moves", {"places": ("none", "few", "many", "most")})
coverage_rate = Coverage("attention_softmax_rate", {"groups": (1, 2), "moving": (False, True)})
coverage_groups = Coverage("attention_softmax_groups", {"groups": (1, 2), "scores": (False, True)})


class Bench:
    """The softmax with its streams; results come with pauses of their own, if any are given."""

    def __init__(self, domain: Domain, stalls: str, pauses: Pattern | None = None) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, (name == "results" and pauses) or where.source)
            for name, shape in INPUTS.items()
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.sinks = {
            name: StreamSink(domain, name, shape, where.sink, where.sink_waits, self._observer(name))
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)

    def _observer(self, name: str) -> Callable[[int], None]:
        return lambda bits: self.boards[name].observe(bits)

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.wanted = {name: sink.count for name, sink in self.sinks.items()}

    def expect(self, name: str, value: Any) -> None:
        self.boards[name].expect(value)
        self.wanted[name] += 1

    def send(self, pages: list[Page], repeats: bool = True) -> None:
        """The pages of a few queries, from the first to the last one; weights are read once or repeatedly."""
        queries = Queries(len(pages[0].terms))
        for number, page in enumerate(pages):
            closes = page is pages[-1]
            self._send_page(page, opens=number == 0, closes=closes)
            before = queries.maximum
            moves, weights = queries.see(page)
            for query, places in enumerate(moves.tolist()):
                self.expect("moves", {"query": query, "places": places})
                coverage_moves.hit(places=_size(places))
            assert (queries.maximum >= before).all()
            if page.scores:
                for own in page.expected().tolist():
                    for token, value in enumerate(own):
                        self.expect("scores", {"score": value, "last": token == len(own) - 1})
            self._request(weights.tolist(), repeats)
            if closes:
                for query, (maximum, total) in enumerate(
                    zip(queries.maximum.tolist(), queries.total.tolist(), strict=True)
                ):
                    self.expect("states", {"query": query, "maximum": maximum, "total": total})

    def _send_page(self, page: Page, opens: bool, closes: bool, continues: bool = False) -> None:
        """What is known of a page, its results and its terms; those of the pages before come first."""
        if page.before:
            self._send_page(page.before, opens, closes, continues=True)
        self.sources["pages"].send(
            {
                "last_query": len(page.terms) - 1,
                "first": page.first,
                "last": page.last,
                "causal": page.causal,
                "opens": opens,
                "closes": closes,
                "scores": page.scores and not continues,
                **({"continues": continues} if config.kv.split_keys else {}),
            }
        )
        coverage_groups.hit(groups=min(page.terms.shape[1], 2), scores=page.scores)
        units = config.rescale_units
        for bits, term in page.vectors():
            self.sources["terms"].send(term)
            for place in range(0, len(bits), units):
                rows = [[bits[place + unit]] * config.columns for unit in range(units)]
                last = place + units == len(bits)
                self.sources["results"].send({"rows": rows, "count": units, "last": last, "error": 0})

    def _request(self, weights: list[list[int]], repeats: bool) -> None:
        """Weights of every query once or twice, in any order."""
        wanted = [*range(len(weights))]
        if repeats:
            wanted += random.sample(wanted, random.randint(0, len(wanted)))
        random.shuffle(wanted)
        lanes = config.activation_lanes
        for number, query in enumerate(wanted):
            self.sources["requests"].send({"query": query, "last": number == len(wanted) - 1})
            own = weights[query]
            for place in range(0, len(own), lanes):
                numbers = [
                    {"fraction": bits & 1023, "exponent": bits >> 10 & 255, "negative": bits >> 18}
                    for bits in own[place : place + lanes]
                ]
                self.expect("weights", {"weights": numbers, "last": place + lanes == len(own)})

    async def finish(self) -> None:
        """Wait for everything expected and see that nothing else comes."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(30)
        for board in self.boards.values():
            board.finish()


def _size(places: int) -> str:
    return "none" if places == 0 else "few" if places < 8 else "many" if places < 62 else "most"


def random_pages(count: int, length: int) -> list[Page]:
    """Pages of so many queries, the first maximum low, every kind of results in turn."""
    pages = []
    for kind, valid in random.choices([*itertools.product(KINDS, VALID)], k=length):
        rise = random.choice((0, 0, -1, 3, 17, -40))
        before = None
        for other in random.choices(list(KINDS), k=config.kv.split_keys * random.randint(0, 2)):
            before = replace(random_page(config, count, other, "some", 0), before=before)
        pages.append(replace(random_page(config, count, kind, valid, rise), before=before))
        coverage.hit(kind=kind, valid=valid)
    return pages


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_page(dut: Any, stalls: str) -> None:
    """Pages of any number of queries and of any results."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    left = COUNT
    while left > 0:
        length = min(random.randint(1, 6), left)
        bench.send(random_pages(random.randint(1, config.kv.queries), length))
        left -= length
    await bench.finish()


@cocotb.test()
async def rising_maximum(dut: Any) -> None:
    """A maximum that rises with every page, by every number of places that leaves something of the sum."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    rises = [*range(0, 53, 1 + 4 * (COUNT < 20)), 61, 62, 63, 64, 300]
    random.shuffle(rises)
    tokens = config.kv.page_tokens
    bench.send(
        [
            Page(np.full((1, tokens), height, np.float32), np.zeros((1, 1), np.int64), 0, tokens - 1, False)
            for height in itertools.accumulate(rises)
        ]
    )
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere nothing of the pages before is left."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "both_random")
    for _ in range(4):
        bench.send(random_pages(2, 3))
        await bench.domain.cycles(random.randint(20, 600))
        await bench.reset()
        bench.send(random_pages(random.randint(1, config.kv.queries), 2))
        await bench.finish()


def level_pages(count: int, heights: list[int], groups: int) -> list[Page]:
    """Pages whose scores are all the same, and wanted: they show when they are read."""
    shape = (count, config.kv.page_tokens)
    terms = np.zeros((count, groups), np.int64)
    return [Page(np.full(shape, height, np.float32), terms, 0, shape[1] - 1, True) for height in heights]


def waits(count: int, heights: list[int]) -> list[int]:
    """Cycles without a score before each query of a list behind another one, if no result is missing."""
    found = []
    for number, (before, height) in enumerate(itertools.pairwise([heights[0], *heights])):
        for query in range(count):
            behind_last = number == (0 if query == 0 else len(heights) - 1)
            moves = MOVE_CYCLES + height - before if height > before else 0
            found.append(moves or CLOSE_CYCLES * behind_last)
    return found


class Clock:
    """In which cycles results come and scores, one for a token, go."""

    def __init__(self, bench: Bench) -> None:
        self.scores: list[int] = []
        self.results: list[int] = []
        domain = bench.domain
        StreamMonitor(domain, "scores", score_beat, lambda _: self.scores.append(domain.cycle))
        StreamMonitor(domain, "results", result(config), lambda _: self.results.append(domain.cycle))

    def gaps(self) -> list[int]:
        """Cycles without a score before each query behind the first; there are none within a query."""
        tokens = config.kv.page_tokens
        found = [after - before - 1 for before, after in itertools.pairwise(self.scores)]
        assert not any(gap for number, gap in enumerate(found, 1) if number % tokens)
        return found[tokens - 1 :: tokens]

    def delays(self, expected: list[int]) -> list[int]:
        """Cycles by which queries are later than after their results and, as expected, the query before."""
        tokens = config.kv.page_tokens
        beats = tokens // config.rescale_units
        complete = self.results[beats - 1 :: beats]
        begins, ends = self.scores[::tokens], [-1, *self.scores[tokens - 1 :: tokens]]
        return [
            begin - max(came + LATENCY + 2, end + 1 + gap)
            for begin, came, end, gap in zip(begins, complete, ends, expected, strict=False)
        ]


_SLOW = config.activation_lanes == 1
"""Weights leave no sooner than they come."""


@cocotb.test(skip=_SLOW)
@cocotb.parametrize(moving=(False, True))
async def full_throughput(dut: Any, moving: bool) -> None:
    """A score a cycle, page after page of any number of queries; what moves and states cost."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    clock = Clock(bench)
    expected: list[int] = []
    for count in range(1, config.kv.queries + 1):
        rises = random.choices((0, 0, 1, 5), k=4) if moving else [0] * 4
        heights = [*itertools.accumulate(rises)]
        groups = random.choice((1, 2))
        bench.send(level_pages(count, heights, groups), repeats=False)
        expected += waits(count, heights)
        coverage_rate.hit(groups=groups, moving=moving)
    await bench.finish()
    assert clock.gaps() == expected[1:]
    first = clock.results[: config.kv.page_tokens // config.rescale_units]
    assert {after - before for before, after in itertools.pairwise(first)} == {config.rescale_units}


@cocotb.test(skip=_SLOW)
async def full_throughput_after_pauses(dut: Any) -> None:
    """The same where results come in bursts: a query waits for its own ones and the one before only.

    The memory of scores may cost a cycle behind a pause.
    """
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running", bursts(100))
    clock = Clock(bench)
    expected: list[int] = []
    for count in range(1, config.kv.queries + 1):
        bench.send(level_pages(count, [0] * 4, 1), repeats=False)
        expected += waits(count, [0] * 4)
    await bench.finish()
    delays = clock.delays(expected)
    assert set(delays) <= {0, 1}
    assert sum(delays) < len(delays) // 4
