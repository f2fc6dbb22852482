"""Value sums: pages of values for several queries, sums equal to golden's, whatever the stalls.

Parameters: ``config``, the fields of the configuration; ``pages``, how many in a test.
"""

import random
from typing import Any

import cocotb
import numpy as np

from golden.attention import widths
from golden.attention.page import Page
from golden.attention.product import aligned, dots, rescaled
from golden.attention.rounding import nearest
from golden.attention.softmax import shifted
from golden.attention.sums import sums
from golden.numbers import datatypes
from hw import payloads as array_payloads
from hw.attention import payloads
from hw.attention.payloads import Access
from hw.attention.value_sums import PATIENCE
from hw.config import Config
from sim import context
from sim.benches.attention.settled import Settled
from sim.benches.attention.sum_accesses import SumAccesses
from sim.benches.attention.value_pages import random_page, random_weights
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
PAGES: int = context.parameters()["pages"]
P, D, ROWS, UNITS = CONFIG.kv.page_tokens, CONFIG.kv.channels, CONFIG.rows, CONFIG.rescale_units
QUERIES = CONFIG.kv.queries
LANES = max(ROWS // 2, UNITS)
AXES = ("token", "channel")
TYPES = ("int8_asym", "int4_asym", "int2_asym", "int8", "int4", "ternary")
MOST = min(128, max(entry.largest for entry in CONFIG.datatypes))
"""Largest centred code, in magnitude."""
KINDS = ("any", "extreme", "faint")
MOVES = ("none", "few", "many", "all")
SHAPES = {
    "segments": payloads.value_segment(CONFIG),
    "reads": payloads.value_read(CONFIG),
    "terms": payloads.offset_term,
    "dots": array_payloads.value_dots(CONFIG),
    "results": array_payloads.result(CONFIG),
}

coverage = Coverage("value_sums", {"axis": AXES, "moved": MOVES, "fresh": (False, True)})
coverage_rate = Coverage("attention_value_sums_rate", {"over": ("dots", "results")})
coverage_stalls = Coverage("value_sums_stalls", {"stalls": SITUATIONS, "axis": AXES})
coverage_types = Coverage("value_sums_types", {"axis": AXES, "dtype": TYPES, "kind": KINDS})


class Bench:
    """The circuit with its streams, and the sums as golden has them."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in SHAPES.items()
        }
        self.accesses = SumAccesses(domain, self.sources)
        self.board = Scoreboard("sums", payloads.value_sum)
        self.sink = StreamSink(
            domain,
            "sums",
            payloads.value_sum,
            where.sink,
            where.sink_waits,
            observer=lambda bits: self.board.observe(bits),
        )
        self.wanted = 0
        self.settled = Settled(domain, CONFIG)
        self.state = np.zeros((QUERIES, D), np.int64)

    def segment(self, access: Access, query: int, block: int, blocks: int, **fields: int) -> None:
        rest = {"moved": 0, "fresh": 0, "top": 0} | fields
        place = {"query": query, "block": block, "blocks": blocks}
        self.accesses.segment({"access": access, **place, **rest})

    def page(self, page: Page, weights: np.ndarray, top: int, moved: np.ndarray, fresh: bool) -> None:
        """Queue a page for all queries."""
        tops = np.full(QUERIES, top)
        share = sums(weights, page, tops, CONFIG.numerics)
        self.state = share + (0 if fresh else shifted(self.state, moved[:, None]))
        fields = {"top": top, "fresh": int(fresh)}
        if page.axis == "channel":
            group = P // len(page.step)
            vectors = aligned(weights, group, CONFIG.numerics)
            scale = (page.step.T, page.offset.T)
            found = rescaled(vectors, page.integers.T, group, page.dtype, CONFIG.numerics, scale, tops)
            for query, row in enumerate(found.astype(np.float32).view(np.uint32)):
                self.segment(Access.RESULTS, query, 0, D // ROWS, moved=int(moved[query]), **fields)
                self.sources["terms"].send(0)
                self.send_results(row)
            return
        channels, fine = D // page.step.shape[1], widths.sum_exponent(top) - widths.TERM_EXTRA
        for number, (step, offset) in enumerate(zip(page.step.T, page.offset.T, strict=True)):
            exact = weights * step.astype(np.float64)
            terms = nearest(weights * offset.astype(np.float64), fine).sum(-1)
            terms += nearest(exact * page.centre, fine).sum(-1)
            vectors = aligned(exact, P, CONFIG.numerics)
            own = page.integers.T[number * channels : (number + 1) * channels]
            products = dots(vectors, own, P)[..., 0]
            for query in range(QUERIES):
                block, blocks = number * channels // ROWS, channels // ROWS
                self.segment(Access.DOTS, query, block, blocks, moved=int(moved[query]), **fields)
                self.sources["terms"].send(int(terms[query]))
                self.send_dots(products[query], int(vectors.exponents[query, 0]))

    def send_dots(self, products: np.ndarray, exponent: int) -> None:
        """Row blocks of dot products, with any bias."""
        size = 1 << CONFIG.product_bits
        for start in range(0, len(products), ROWS):
            bias = random.randrange(size)
            biased = [(int(dot) + bias) % size for dot in products[start : start + ROWS]]
            self.sources["dots"].send({"dots": biased, "bias": bias, "exponent": exponent})

    def send_results(self, row: np.ndarray) -> None:
        """Beats of results."""
        for start in range(0, len(row), UNITS):
            rows = [[int(bits)] for bits in row[start : start + UNITS]]
            self.sources["results"].send({"rows": rows, "count": UNITS, "last": 0, "error": 0})

    def read(self, query: int, blocks: int = D // ROWS) -> None:
        """Queue a look at sums of a query."""
        self.accesses.read({"query": query, "blocks": blocks})
        for channel, total in enumerate(self.state[query, : blocks * ROWS].tolist()):
            self.board.expect({"sum": total, "last": channel == blocks * ROWS - 1})
            self.wanted += 1

    async def finish(self) -> None:
        for query in range(QUERIES):
            self.read(query)
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(12)
        self.board.finish()


def moves(kind: str) -> np.ndarray:
    """By how much the maximum of each query moves."""
    choices = {"none": [0], "few": [0, 1, 2, 3], "many": range(64), "all": [51, 52, 62, 63]}[kind]
    return np.array([random.choice(choices) for _ in range(QUERIES)])


def own_types() -> list[str]:
    """Those whose centred codes the array takes."""
    return [name for name in TYPES if min(datatypes.get(name).largest, 128) <= MOST]


def random_pages(bench: Bench, count: int, kind: str = "any") -> None:
    """Pages of both axes, of all types, with moved maxima; now and then sums are read or begin afresh."""
    top = 30
    for number in range(count):
        axis, dtype = AXES[number % 2], random.choice(own_types())
        fresh = number == 0 or random.random() < 0.25
        moved = random.choice(MOVES)
        if fresh:
            top = 30 if kind == "faint" else random.randint(1, 30)
        bench.page(random_page(axis, dtype, top, kind), random_weights(kind), top, moves(moved), fresh)
        coverage.hit(axis=axis, moved=moved, fresh=fresh)
        coverage_types.hit(axis=axis, dtype=dtype, kind=kind)
        if random.random() < 0.2:
            bench.read(random.randrange(QUERIES), random.randint(1, D // ROWS))


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def any_pages(dut: Any, kind: str) -> None:
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    random_pages(bench, PAGES, kind)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_stalls(dut: Any, stalls: str) -> None:
    bench = Bench(await reset(dut, cycle_limit=1_000_000), stalls)
    random_pages(bench, 4)
    for axis in AXES:
        coverage_stalls.hit(stalls=stalls, axis=axis)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(sign=(-1, 1))
async def largest_sums(dut: Any, sign: int) -> None:
    """Sums grow to 50 bits, then are shifted."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    term = sign * ((1 << 50) - 1)
    products = np.full(2 * ROWS, sign * P * CONFIG.largest_activation * MOST)
    top, exponent = 30, 127 + 15
    place = exponent - 127 - (CONFIG.activation_bits - 2) - widths.sum_exponent(top)
    count = 2000
    for number in range(count):
        bench.segment(Access.DOTS, 0, 0, 2, top=top, fresh=int(number == 0))
        bench.sources["terms"].send(term)
        bench.send_dots(products, exponent)
    bench.state[0, : 2 * ROWS] = count * (int(products[0]) * 2**place + (term + 2048 >> 12))
    assert (1 << 49) * (MOST == 128) < abs(bench.state[0, 0]) < 1 << 50
    bench.read(0, 2)
    for moved in (1, 2, 7, 19):
        bench.segment(Access.DOTS, 0, 0, 2, top=top, moved=moved)
        bench.sources["terms"].send(0)
        bench.send_dots(products * 0, 1)
        bench.state[0] = shifted(bench.state[0], np.array(moved))
        bench.read(0, 2)
    await bench.sink.wait_for(bench.wanted)
    bench.board.finish()


def watch(bench: Bench, *names: str) -> dict[str, list[int]]:
    """Cycles in which beats of streams are taken."""
    cycles: dict[str, list[int]] = {name: [] for name in names}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    return cycles


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """A row block every two cycles, segment after segment; a beat of results a cycle; a sum every two."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    cycles = watch(bench, "dots", "results", "sums")
    for axis in ("token", "channel"):
        page = random_page(axis, "int4_asym", 15)
        bench.page(page, random_weights(), 15, np.zeros(QUERIES, int), True)
    await bench.sources["results"].drained()
    await bench.finish()
    assert (np.diff(cycles["dots"]) == ROWS // LANES).all()
    assert (np.diff(cycles["results"]) == 1).all()
    assert (np.diff(cycles["sums"][:D]) == 2).all()
    assert bench.settled.held >= len(cycles["dots"]) - 1
    for name in ("dots", "results"):
        coverage_rate.hit(over=name)


@cocotb.test()
@cocotb.parametrize(axis=AXES)
async def reads_between(dut: Any, axis: str) -> None:
    """Sums wait for dot products without a gap; results let one by after ``PATIENCE`` cycles."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    page, still = random_page(axis, "int4_asym", 15), np.zeros(QUERIES, int)
    bench.page(page, random_weights(), 15, still, True)
    name = "dots" if axis == "token" else "results"
    await bench.sources[name].drained()
    bench.read(0)
    while bench.sources["reads"].sent == 0 and bench.sink.count == 0:
        await bench.domain.cycles(1)
    cycles = watch(bench, name, "sums")
    row = np.zeros(D, np.uint32)
    for _ in range(8 * PATIENCE * UNITS // D + 1):
        beats = bench.sources[name]
        bench.segment(Access.DOTS if axis == "token" else Access.RESULTS, 1, 0, D // ROWS, top=15)
        bench.sources["terms"].send(0)
        if axis == "token":
            bench.send_dots(row.astype(np.int64), 1)
        else:
            bench.send_results(row)
    await beats.drained()
    begin, end = cycles[name][0], cycles[name][-1]
    between = [cycle for cycle in cycles["sums"] if begin + 4 < cycle < end]
    gaps = np.diff(cycles[name])
    if axis == "token":
        assert (gaps == ROWS // LANES).all()
        assert not between
    else:
        assert set(gaps.tolist()) == {1, 4}
        assert len(between) >= 5
        assert (np.diff(between) == PATIENCE + 3).all()
    await bench.finish()


@cocotb.test()
async def reset_in_a_segment(dut: Any) -> None:
    """A reset anywhere leaves no beat behind."""
    domain = await reset(dut, cycle_limit=100_000)
    bench = Bench(domain)
    for cycles in (3, 6, 11, 25):
        bench.page(random_page("token", "int4", 9), random_weights(), 9, moves("few"), True)
        bench.read(0)
        await domain.cycles(cycles)
        await domain.reset()
        bench.board = Scoreboard("sums", payloads.value_sum)
        bench.wanted = bench.sink.count
        random_pages(bench, 1)
        await bench.finish()
