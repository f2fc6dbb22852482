"""Dequantiser: pages of every format decoded to float16, equal to golden bit for bit, whatever the stalls."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.affine import Quantized
from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.dequantiser import PAGE_OVERHEAD
from hw.kv.payloads import page_beat, page_format, value_beat, word
from sim import context
from sim.benches.kv.decoded_pages import random_numbers, streams_of, values_of
from sim.benches.kv.pages import FORMATS, KINDS, PLACES, RULES, form_fields, random_elements, random_layout
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
NAMES = tuple(f"{rule}{bits}" for rule, bits in FORMATS)
ANY = "any numbers"

coverage = Coverage("kv_dequantiser", {"kind": (*KINDS, ANY), "rule": RULES})
coverage_formats = Coverage(
    "kv_dequantiser_formats", {"format": NAMES, "side": ("key", "value"), "axis": ("token", "channel")}
)
coverage_rate = Coverage("kv_dequantiser_rate", {"format": NAMES})
coverage_stalls = Coverage("kv_dequantiser_stalls", {"situation": SITUATIONS, "error": (False, True)})
coverage_values = Coverage(
    "kv_dequantiser_values",
    {"value": ("zero", "subnormal", "normal", "largest"), "negative": (False, True)},
    impossible=lambda value, negative: negative and value == "zero",
)


class Bench:
    """The dequantiser with its streams; cycles of its output are noted."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.compares = True
        self.cycles: list[int] = []
        shape = value_beat(config)
        self.board = Scoreboard("elements", shape)
        self.headers = StreamSource(domain, "headers", page_format(config), where.source)
        self.numbers = StreamSource(domain, "numbers", word(config.memory_bits), where.source)
        self.beats = StreamSource(domain, "beats", page_beat(config), where.source)
        self.sink = StreamSink(domain, "elements", shape, where.sink, where.sink_waits, self.observe)
        self.wanted = 0

    def observe(self, bits: int) -> None:
        self.cycles.append(self.domain.cycle)
        if self.compares:
            self.board.observe(bits)

    def send(self, layout: PageLayout, quantized: Quantized, error: bool = False) -> tuple[int, int]:
        """A page that becomes what golden says of it; returns its words of numbers and beats of values."""
        numbers, beats = streams_of(layout, layout.pack(quantized), config.memory_bits, error)
        self.headers.send(form_fields(layout))
        self.numbers.send_all(numbers)
        self.beats.send_all(beats)
        values = values_of(layout, quantized, config.kv.lanes, error)
        self.board.expect_all(values)
        self.wanted += len(values)
        cover_values(layout.format.decode_half(quantized))
        return len(numbers), len(values)

    async def finish(self) -> None:
        """Wait for every expected beat, and see that no other comes and nothing is left."""
        await self.sink.wait_for(self.wanted)
        for source in (self.headers, self.numbers, self.beats):
            await source.drained()
        await self.domain.cycles(30)
        self.board.finish()


def cover_values(values: np.ndarray) -> None:
    patterns = values.view(np.uint16)
    negative, field = patterns >> 15, patterns >> 10 & 31
    classes = np.select([patterns << 1 == 0, field == 0, patterns & 0x7FFF == 0x7BFF], [0, 1, 3], 2)
    for which, sign in {*zip(classes.ravel().tolist(), negative.ravel().tolist(), strict=True)}:
        coverage_values.hit(value=("zero", "subnormal", "normal", "largest")[which], negative=bool(sign))


def quantized_page(layout: PageLayout, kind: str) -> Quantized:
    """A page of elements of this kind, or with numbers and codes that no elements have."""
    coverage.hit(kind=kind, rule=layout.format.rule)
    if kind == ANY:
        return random_numbers(layout)
    return layout.format.quantize(random_elements(layout, kind))


def any_kind() -> str:
    return random.choice((*KINDS, ANY))


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=3_000_000), stalls)


@cocotb.test()
async def every_format(dut: Any) -> None:
    """All formats, on both sides and axes, page after page."""
    bench = await start(dut)
    for number in range(COUNT):
        name, (rule, bits) = NAMES[number % len(NAMES)], FORMATS[number % len(NAMES)]
        wanted = PLACES[number // len(NAMES) % len(PLACES)]
        layout = random_layout(config, rule, bits, wanted)
        bench.send(layout, quantized_page(layout, "normal"))
        coverage_formats.hit(format=name, side=layout.side, axis=layout.format.axis)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(kind=(*KINDS, ANY))
async def every_kind(dut: Any, kind: str) -> None:
    """Values that are hard to round or far apart."""
    bench = await start(dut)
    for number in range(max(COUNT // 2, 2 * len(RULES))):
        layout = random_layout(config, RULES[number % len(RULES)] if number < 6 else "native")
        bench.send(layout, quantized_page(layout, kind))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    """Damaged pages among the others, whose error comes with the last beat only."""
    bench = await start(dut, stalls)
    for error in (False, True, False):
        layout = random_layout(config)
        bench.send(layout, quantized_page(layout, any_kind()), error)
        coverage_stalls.hit(situation=stalls, error=error)
    await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A beat of values a cycle within a page, whatever its numbers, and few cycles lost between pages.

    Many numbers behind a short page come in longer than that page leaves, and count instead of it.
    """
    bench = await start(dut)
    pages = []
    for number in range(len(FORMATS)):
        layout = random_layout(config, *FORMATS[number])
        pages.append(bench.send(layout, quantized_page(layout, any_kind())))
    await bench.finish()
    first = 0
    for (_, length), following in zip(pages, [*pages[1:], None], strict=True):
        cycles = bench.cycles[first : first + length]
        assert cycles[-1] - cycles[0] == length - 1
        first += length
        if following is not None:
            numbers, _ = following
            assert bench.cycles[first] - cycles[0] == max(length + PAGE_OVERHEAD, numbers + 1)
    for name in NAMES:
        coverage_rate.hit(format=name)
    dut._log.info(
        f"{sum(length for _, length in pages)} beats in {bench.cycles[-1] - bench.cycles[0] + 1} cycles"
    )


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a page leaves nothing behind, wherever it comes."""
    bench = await start(dut)
    for _ in range(8):
        layout = random_layout(config)
        page = layout.pack(quantized_page(layout, any_kind()))
        numbers, beats = streams_of(layout, page, config.memory_bits, True)
        bench.compares = False
        bench.headers.send_all([form_fields(layout)] * 2)
        bench.numbers.send_all(numbers + numbers[: random.randrange(len(numbers))])
        bench.beats.send_all(beats[: random.randrange(len(beats))])
        await bench.domain.cycles(len(numbers) + random.randrange(2 * config.memory_bits))
        await bench.domain.reset()
        bench.compares, bench.wanted = True, bench.sink.count
        layout = random_layout(config)
        bench.send(layout, quantized_page(layout, any_kind()))
        await bench.finish()
