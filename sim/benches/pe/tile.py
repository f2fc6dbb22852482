"""Tile: bit for bit the golden matrix-vector product, in exactly the cycles that the formula gives."""

import random
from collections import Counter
from typing import Any

import cocotb
import numpy as np

from golden.matvec import matvec_bits
from golden.weights.packet import OUTPUTS
from golden.weights.quantized import QuantizedWeights
from hw import payloads
from hw.config import Config
from hw.pe.tile import fill_latency, product_cycles
from sim import context
from sim.benches.weights.matrices import Expected, random_weights
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
ACTIVATIONS = ("fp16", "bf16")
DATA = ("any", "moderate", "special")


def _terms(name: str) -> int:
    """Terms of a data type."""
    return next(entry.term_count for entry in config.datatypes if entry.name == name)


coverage = Coverage(
    "tile",
    {"type": config.types, "terms": (1, 2, 3), "stalls": SITUATIONS},
    lambda type, terms, stalls: terms != _terms(type),
)
coverage_formats = Coverage(
    "tile_formats", {"activations": ACTIVATIONS, "output": OUTPUTS, "scale": ("int8", "fp16", "e8m0", "e4m3")}
)
coverage_rate = Coverage("tile_rate", {"type": config.types, "offset": (False, True)})
errors = ErrorPlan("tile")
coverage_data = Coverage("tile_data", {"data": DATA, "offset": (False, True)})
coverage_groups = Coverage("tile_groups", {"group": config.group_lengths, "offset": (False, True)})


def random_vector(inputs: int, data: str) -> np.ndarray:
    """Bit patterns [columns, inputs]: any finite ones, ones of one magnitude, or with NaN and infinity."""
    rng = np.random.default_rng(random.getrandbits(32))
    bits = rng.integers(0, 1 << 16, (config.columns, inputs)).astype(np.uint16)
    if data == "moderate":
        bits = rng.standard_normal((config.columns, inputs)).astype(np.float16).view(np.uint16)
    elif data == "any":
        bits &= 0xBBFF  # no exponent of all ones, in either format
    return bits


class Product:
    """One packet with its vector, and the golden results."""

    def __init__(self, q: QuantizedWeights, bits: np.ndarray, activations: str, output: str) -> None:
        self.q, self.bits, self.activations = q, bits, activations
        self.expected = Expected(config, q, output)
        kept = bits[:, : config.maximum_inputs]
        values, overflow = matvec_bits(q, kept, config, activations, output)
        units = config.rescale_units
        self.results = [
            (values[:, row : row + units].T.tolist(), row + units >= q.shape[0])
            for row in range(0, q.shape[0], units)
        ]
        overflows = sum(bool(overflow[:, row : row + units].any()) for row in range(0, q.shape[0], units))
        self.counts = {"overflow": overflows, "error_long": int(bits.shape[1] > kept.shape[1])}

    def beats(self) -> list[dict[str, Any]]:
        """Payloads of the activation stream, padded with zeros."""
        lanes = config.activation_lanes
        padded = np.pad(self.bits, ((0, 0), (0, -self.bits.shape[1] % lanes)))
        starts = range(0, padded.shape[1], lanes)
        return [
            {
                "elements": padded[:, start : start + lanes].tolist(),
                "last": int(start == starts[-1]),
                "format": payloads.ActivationFormat[self.activations.upper()],
                "halvings": config.group_lengths.index(self.q.group),
            }
            for start in starts
        ]


class Bench:
    """Sources and sink of a tile."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        shapes = {
            "beats": payloads.activation_beat(config),
            "passes": payloads.passes,
            "chunks": payloads.chunk(config),
            "scales": payloads.group_scales(config),
            "channels": payloads.channels(config),
        }
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in shapes.items()
        }
        self.arrivals: list[int] = []
        self.beats: list[int] = []
        self.errors = ErrorCounter(domain, errors)
        self.sink = StreamSink(
            domain, "results", payloads.result(config), where.sink, where.sink_waits, self._observe
        )

    def _observe(self, bits: int) -> None:
        self.arrivals.append(self.domain.cycle)
        self.beats.append(bits)

    def send(self, product: Product) -> None:
        """Queue one packet and its vector."""
        expected = product.expected
        self.sources["beats"].send_all(product.beats())
        self.sources["passes"].send({"count": expected.packet.blocks, "keep": 0})
        self.sources["chunks"].send_all(expected.chunks)
        self.sources["scales"].send_all(expected.scales)
        self.sources["channels"].send_all(expected.channels)

    async def check(self, products: list[Product], spacing: str = SPACINGS[0]) -> None:
        """Wait for all results and compare them, and the errors."""
        await self.sink.wait_for(sum(len(product.results) for product in products))
        await self.domain.cycles(8)
        beats = iter(self.beats)
        for number, product in enumerate(products):
            name = f"product {number} of {product.q.dtype.name} {product.q.shape}"
            for place, (rows, last) in enumerate(product.results):
                got = self.sink.codec.unpack(next(beats))
                assert got["count"] == len(rows), (name, place)
                assert got["last"] == last, (name, place)
                assert got["rows"][: len(rows)] == rows, (name, place, got["rows"], rows)
        assert next(beats, None) is None
        counts = sum((Counter(product.counts) for product in products), Counter())
        self.errors.expect(counts, spacing)


def random_product(dtype: str, data: str = "moderate") -> Product:
    """A small product of any shape and format."""
    offset = random.random() < 0.3
    scale = random.choice(("int8", "fp16", "e8m0", "e4m3"))
    activations, output = random.choice(ACTIVATIONS), random.choice(OUTPUTS)
    outputs, inputs = random.randint(1, 2 * config.rows), random.randint(1, 3 * config.group)
    group = random.choice(config.group_lengths)
    q = random_weights(config, dtype, scale, outputs, inputs, group, offset)
    coverage_formats.hit(activations=activations, output=output, scale=scale)
    coverage_data.hit(data=data, offset=offset)
    coverage_groups.hit(group=group, offset=offset)
    return Product(q, random_vector(inputs, data), activations, output)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_type(dut: Any, stalls: str) -> None:
    """Packets of all types back to back, of any shape and format."""
    domain = await reset(dut, cycle_limit=200_000)
    bench = Bench(domain, stalls)
    names = list(config.types)
    random.shuffle(names)
    products = [random_product(name, random.choice(DATA)) for name in names]
    for product in products:
        bench.send(product)
    await bench.check(products)
    for name in names:
        coverage.hit(type=name, terms=_terms(name), stalls=stalls)


def product_with(error: str | None) -> Product:
    """A small product that raises an error, or none."""
    blocks, inputs = random.randint(1, 2 * config.rows), random.randint(1, 2 * config.group)
    if error == "error_long":
        inputs = config.maximum_inputs
    q = random_weights(config, random.choice(config.types), "int8", blocks, inputs, config.group, False)
    if error == "overflow":
        q.channel_exponent[0] = 127
        bits = np.full((config.columns, inputs), 0x7BFF, np.uint16)
        return Product(q, bits, "fp16", "fp16")
    longer = random.randint(1, 2 * config.group) if error == "error_long" else 0
    return Product(q, random_vector(inputs + longer, "moderate"), "fp16", "fp32")


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def every_error(dut: Any, spacing: str) -> None:
    """Vectors that are too long and results that are too large, in every order among others."""
    domain = await reset(dut, cycle_limit=200_000)
    bench = Bench(domain, "free_running")
    products = [product_with(error) for error in every_pair((None, *errors.names))]
    acts = [lambda product=product: bench.send(product) for product in products]
    await send_spaced(domain, bench.sources.values(), acts, spacing)
    await bench.check(products, spacing)


@cocotb.test()
@cocotb.parametrize(offset=(False, True))
async def exact_cycles(dut: Any, offset: bool) -> None:
    """Without stalls products take their formula's cycles, block after block, and the stated fill beyond."""
    domain = await reset(dut, cycle_limit=200_000)
    inputs, blocks = 3 * config.group + config.lanes, (3, 2)
    for dtype in config.types:
        products = [
            Product(
                random_weights(config, dtype, "int8", count * config.rows, inputs, config.group, offset),
                random_vector(inputs, "moderate"),
                "fp16",
                "fp32",
            )
            for count in blocks
        ]
        bench = Bench(domain, "free_running")
        accepted: list[int] = []
        StreamMonitor(domain, "chunks", observer=lambda _, seen=accepted: seen.append(domain.cycle))
        for product in products:
            bench.send(product)
        await bench.check(products)
        taken = bench.arrivals[-1] - accepted[0] + _terms(dtype)
        cycles = product_cycles(config, sum(blocks), inputs, _terms(dtype), offset)
        busy = sum(blocks) * -(-inputs // config.lanes) * _terms(dtype)
        fill = (
            fill_latency(config) + config.turns(offset) - config.slots
        )  # passes of the last group's last row
        if config.waiting_groups:  # a short group hides behind the one before
            assert busy + fill <= taken <= cycles + fill, (dtype, taken, busy, cycles, fill)
        else:
            assert taken == cycles + fill, (dtype, taken, cycles, fill)
        coverage_rate.hit(type=dtype, offset=offset)
        await domain.reset()


@cocotb.test()
async def reset_in_a_product(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    domain = await reset(dut, cycle_limit=100_000)
    for _ in range(6):
        bench = Bench(domain, "free_running")
        bench.send(random_product(random.choice(config.types)))
        await domain.cycles(random.randint(5, 80))
        await domain.reset()
        bench = Bench(domain, "free_running")
        products = [random_product(random.choice(config.types)) for _ in range(2)]
        for product in products:
            bench.send(product)
        await bench.check(products)
        await domain.reset()
