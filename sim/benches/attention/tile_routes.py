"""A tile that serves attention: results and dot products bit for bit as golden's, by both routes in turn.

Parameters: ``config``, the fields of the configuration; ``products``, how many in a test.
"""

import itertools
import random
from collections import deque
from typing import Any

import cocotb
import numpy as np

from golden.attention.widths import MOST_CHANNELS
from hw import payloads
from hw.config import Config
from sim import context
from sim.benches.attention.products import KINDS, Product
from sim.coverage import Coverage
from sim.packing import codec
from sim.spacing import every_pair
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
PRODUCTS: int = context.parameters()["products"]
ROWS, UNITS = CONFIG.rows, CONFIG.rescale_units
STEADY_CYCLES = 2
SHAPES = {
    "beats": payloads.activation_beat(CONFIG),
    "passes": payloads.passes,
    "chunks": payloads.chunk(CONFIG),
    "scales": payloads.group_scales(CONFIG),
    "channels": payloads.channels(CONFIG),
}

coverage = Coverage("tile_routes", {"kind": KINDS, "stalls": SITUATIONS})
coverage_order = Coverage("tile_routes_order", {"before": KINDS, "after": KINDS})
coverage_types = Coverage("tile_routes_types", {"kind": KINDS, "type": CONFIG.types})


class Taker:
    """Takes dots as value sums do: a group two cycles after it came, or after the one before.

    Only a group that is not steady may take longer, and what follows directly on it may have to wait.
    """

    def __init__(self, domain: Domain) -> None:
        self.steady: deque[bool] = deque()
        self._valid, self._ready = domain.reader("dots_valid"), domain.writer("dots_ready")
        self._settled = domain.writer("settled")
        self._half = self._is_ready = False
        self._pause = 0
        domain.add(self)

    def step(self) -> None:
        settled = bool(self.steady) and self.steady[0] and not self._pause
        self._pause = max(0, self._pause - 1)
        if self._is_ready and self._valid():
            self._half = False
            self._pause = 0 if self.steady.popleft() else random.choice((0, 1, 5, 20))
        elif self._valid() and not self._half and not self._pause:
            self._half = True
            self._pause = 0 if self.steady[0] else random.choice((0, 0, 1, 7))
        self._is_ready = self._half and not self._pause
        self._ready(self._is_ready)
        self._settled(settled)

    def restart(self) -> None:
        self.steady.clear()
        self._half, self._pause = False, 0

    def status(self) -> str:
        return f"taker of dots: {len(self.steady)} groups are still to come"


class Bench:
    """The tile with its streams; with a taker dots are taken by it."""

    def __init__(self, domain: Domain, stalls: str = "free_running", taker: bool = False) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in SHAPES.items()
        }
        self.results: list[int] = []
        self.dots: list[int] = []
        self.cycles: list[int] = []
        rest = (where.sink, where.sink_waits)
        StreamSink(domain, "results", payloads.result(CONFIG), *rest, self.results.append)
        self.taker = Taker(domain) if taker else None
        if taker:
            StreamMonitor(domain, "dots", observer=self._observe)
        else:
            StreamSink(domain, "dots", payloads.column_dots(CONFIG), *rest, self._observe)

    def _observe(self, bits: int) -> None:
        self.dots.append(bits)
        self.cycles.append(self.domain.cycle)

    def send(self, product: Product) -> None:
        self.sources["beats"].send_all(product.beats())
        self.sources["passes"].send({"count": product.blocks, "keep": 0})
        self.sources["chunks"].send_all(product.chunks())
        if product.kind == "dots":
            if self.taker:
                self.taker.steady.extend([product.steady] * len(product.dots()))
            return
        self.sources["scales"].send_all(product.scales())
        self.sources["channels"].send_all(product.channels())

    async def check(self, products: list[Product]) -> None:
        """Wait for everything, and compare it."""
        dots = [pair for product in products if product.kind == "dots" for pair in product.dots()]
        results = [bits for product in products if product.kind != "dots" for bits in product.results()]
        while len(self.dots) < len(dots) or len(self.results) < len(results) // UNITS:
            await self.domain.cycles(1)
        await self.domain.cycles(20)
        unpack, size = codec(payloads.column_dots(CONFIG)).unpack, 1 << CONFIG.product_bits
        for number, (bits, expected) in enumerate(zip(self.dots, dots, strict=True)):
            found = unpack(bits)
            bias = found["bias"] - size // 2
            exact = [[(dot - bias) % size - size // 2 for dot in column] for column in found["dots"]]
            assert (exact, found["exponents"]) == expected, number
        unpack = codec(payloads.result(CONFIG)).unpack
        found = [row for bits in self.results for row in unpack(bits)["rows"]]
        assert found == results, np.flatnonzero(np.array(found) != np.array(results))


def steady_product(blocks: int, steady: bool) -> Product:
    """Dot products of two chunks each, of one term."""
    names = [entry.name for entry in CONFIG.datatypes if entry.term_count == 1]
    inputs = STEADY_CYCLES * CONFIG.lanes
    group = min(size for size in CONFIG.group_lengths if size >= inputs)
    return Product(CONFIG, "dots", random.choice(names), inputs, group, blocks, steady=steady)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_routes(dut: Any, stalls: str) -> None:
    """Products of all kinds in any order."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000), stalls)
    kinds = [*every_pair(KINDS), *random.choices(KINDS, k=PRODUCTS)]
    products = [Product.random(CONFIG, kind, bool(random.getrandbits(1))) for kind in kinds]
    for product in products:
        bench.send(product)
        coverage_types.hit(kind=product.kind, type=product.dtype.name)
        coverage.hit(kind=product.kind, stalls=stalls)
    for before, after in itertools.pairwise(kinds):
        coverage_order.hit(before=before, after=after)
    await bench.check(products)


@cocotb.test()
async def largest_sums(dut: Any) -> None:
    """Vectors of 256 elements whose sums fill the accumulators."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    inputs = min(MOST_CHANNELS, CONFIG.maximum_inputs)
    shapes = [("folded", CONFIG.group), *(("scaled", group) for group in CONFIG.group_lengths)]
    products = [
        Product(CONFIG, kind, name, inputs, group, 1, extreme=True)
        for name in CONFIG.types
        for kind, group in shapes
    ]
    for product in products:
        bench.send(product)
        coverage_types.hit(kind=product.kind, type=product.dtype.name)
    await bench.check(products)


@cocotb.test()
@cocotb.parametrize(others=(False, True))
async def steady_groups(dut: Any, others: bool) -> None:
    """A taker that is settled now and then, among products that are rescaled as well; no group is lost."""
    bench = Bench(await reset(dut, cycle_limit=200_000), taker=True)
    products = []
    for _ in range(4 * PRODUCTS):
        steady = random.random() < 0.7
        products.append(steady_product(random.randint(1, 8), steady))
        if others and random.random() < 0.5:
            kind = random.choice(KINDS)
            products.append(Product(CONFIG, kind, random.choice(CONFIG.types), 16, 16, random.randint(1, 4)))
    for product in products:
        bench.send(product)
    await bench.check(products)


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Steady groups leave every two cycles, over several vectors."""
    bench = Bench(await reset(dut, cycle_limit=10_000), taker=True)
    blocks = max(4, 2 * CONFIG.lanes // CONFIG.activation_lanes)  # so that vectors come in time
    products = [steady_product(blocks, True) for _ in range(8)]
    for product in products:
        bench.send(product)
    await bench.check(products)
    assert np.diff(bench.cycles).tolist() == [STEADY_CYCLES] * (8 * blocks - 1)
