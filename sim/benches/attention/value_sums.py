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
from golden.numbers import datatypes, floats
from hw import payloads as array_payloads
from hw.attention import payloads
from hw.attention.payloads import Access
from hw.config import Config
from sim import context
from sim.benches.attention.settled import Settled
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
    "terms": payloads.offset_term,
    "dots": array_payloads.value_dots(CONFIG),
    "results": array_payloads.result(CONFIG),
}

coverage = Coverage("value_sums", {"axis": AXES, "moved": MOVES, "fresh": (False, True)})
coverage_rate = Coverage("attention_value_sums_rate", {"over": ("dots", "results")})
coverage_stalls = Coverage("value_sums_stalls", {"stalls": SITUATIONS, "axis": AXES})
coverage_types = Coverage("value_sums_types", {"axis": AXES, "dtype": TYPES, "kind": KINDS})


def random_page(axis: str, dtype: str, top: int, kind: str = "any") -> Page:
    """Values whose steps and offsets have fields of at most ``top``."""
    rng = np.random.default_rng(random.getrandbits(32))
    coded = datatypes.get(dtype)
    group = int(rng.choice([size for size in (16, 32, 64, 128) if size <= (D if axis == "token" else P)]))
    shape = (P, D // group) if axis == "token" else (P // group, D)
    centre = 1 << coded.bits - 1 if coded.asymmetric else 0
    high = (1 << coded.bits) - 1 - centre if coded.asymmetric else int(coded.largest)
    low = -centre if coded.asymmetric else -high
    integers = rng.integers(low, high + 1, (P, D))
    fields, mantissas = rng.integers(1, top + 1, (2, *shape)), rng.integers(1024, 2048, (2, *shape))
    signs = rng.choice([-1, 1], (2, *shape))
    if kind == "extreme":
        integers = np.full((P, D), low if random.random() < 0.5 else high)
        fields[:], mantissas[:], signs[:] = top, 2047, random.choice((-1, 1))
    if kind == "faint":
        fields[:], mantissas = 1, mantissas >> 7
    step, offset = (signs * mantissas * np.exp2(fields - float(floats.HALF_UNIT))).astype(np.float16)
    if not coded.asymmetric:
        offset = np.zeros_like(offset)
    return Page(axis, coded, integers.astype(np.int16), step, offset)


def random_weights(kind: str = "any") -> np.ndarray:
    """Weights of all queries, float64 [N, P] of tf32 numbers, 0 among them."""
    rng = np.random.default_rng(random.getrandbits(32))
    shape = (QUERIES, P)
    if kind == "extreme":
        return np.ones(shape)
    powers = rng.integers(-32, 0, shape) if random.random() < 0.5 else rng.integers(-6, 0, shape)
    found = (1024 + rng.integers(0, 1024, shape)) * np.exp2(powers - 10.0)
    found[rng.random(shape) < 0.1] = 0
    if kind == "faint":
        return np.minimum(found, 2.0**-30)
    return np.where(rng.random(shape) < 0.05, 1.0, found)


class Bench:
    """The circuit with its streams, and the sums as golden has them."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in SHAPES.items()
        }
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
        self.sources["segments"].send({"access": access, **place, **rest})

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

    def read(self, query: int, block: int = 0, blocks: int = D // ROWS) -> None:
        """Queue a look at sums of a query."""
        self.segment(
            Access.READ, query, block, blocks, moved=random.randrange(64), fresh=random.getrandbits(1)
        )
        for channel in range(block * ROWS, (block + blocks) * ROWS):
            last = int(channel == (block + blocks) * ROWS - 1)
            self.board.expect({"sum": int(self.state[query, channel]), "last": last})
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
            blocks = random.randint(1, D // ROWS)
            block = random.randint(0, D // ROWS - blocks) if LANES < ROWS else 0  # not the word just written
            bench.read(random.randrange(QUERIES), block, blocks)


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
    bench.read(0, 0, 2)
    for moved in (1, 2, 7, 19):
        bench.segment(Access.DOTS, 0, 0, 2, top=top, moved=moved)
        bench.sources["terms"].send(0)
        bench.send_dots(products * 0, 1)
        bench.state[0] = shifted(bench.state[0], np.array(moved))
        bench.read(0, 0, 2)
    await bench.sink.wait_for(bench.wanted)
    bench.board.finish()


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """A row block every two cycles, segment after segment; a beat of results a cycle."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    cycles: dict[str, list[int]] = {"dots": [], "results": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    for axis in ("token", "channel"):
        page = random_page(axis, "int4_asym", 15)
        bench.page(page, random_weights(), 15, np.zeros(QUERIES, int), True)
    await bench.finish()
    assert (np.diff(cycles["dots"]) == ROWS // LANES).all()
    assert (np.diff(cycles["results"]) == 1).all()
    assert bench.settled.held >= len(cycles["dots"]) - 1
    for name in cycles:
        coverage_rate.hit(over=name)


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
