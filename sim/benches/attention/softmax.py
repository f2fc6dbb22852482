"""Softmax: scores, weights, maxima and sums of weights equal to golden ones, whatever the stalls."""

import itertools
import random
from collections.abc import Callable
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
from hw.attention.softmax import CYCLES, WAITS
from hw.config import Config
from hw.payloads import result
from sim import context
from sim.benches.attention.score_pages import KINDS, VALID, Page, Queries, random_page
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
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
coverage_rate = Coverage("attention_softmax_rate", {"groups": (1, 2)})
coverage_groups = Coverage("attention_softmax_groups", {"groups": (1, 2), "scores": (False, True)})


class Bench:
    """The softmax with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in INPUTS.items()
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

    def _send_page(self, page: Page, opens: bool, closes: bool) -> None:
        """What is known of a page, its results and its terms."""
        self.sources["pages"].send(
            {
                "last_query": len(page.terms) - 1,
                "first": page.first,
                "last": page.last,
                "opens": opens,
                "closes": closes,
                "scores": page.scores,
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
        pages.append(random_page(config, count, kind, valid, rise))
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


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Query after query in the documented cycles, while the results of the next page come or do not."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    pages = [random_page(config, config.kv.queries, "equal", "all", 0, groups) for groups in (1, 2, 2, 1, 1)]
    for page in pages:
        page.scores = False
    begins: list[int] = []
    shifts: list[int] = []

    def note(bits: int) -> None:
        begins.append(bench.domain.cycle)
        opens = len(shifts) < config.kv.queries
        shifts.append(0 if opens else bench.sinks["moves"].codec.unpack(bits)["places"])

    StreamMonitor(bench.domain, "moves", OUTPUTS["moves"], note)
    bench.send(pages, repeats=False)
    await bench.finish()
    groups = [page.terms.shape[1] for page in pages for _ in range(config.kv.queries)]
    taken = [after - before for before, after in itertools.pairwise(begins)]
    for number, cycles in enumerate(taken, 1):
        new_page = number % config.kv.queries == 0
        least = config.kv.page_tokens + CYCLES + shifts[number - 1] + groups[number] - 1 + new_page
        last_page = number > len(taken) - config.kv.queries + 1
        assert least <= cycles <= least + (0 if last_page else WAITS), (number, taken, shifts, groups)
        coverage_rate.hit(groups=groups[number])
