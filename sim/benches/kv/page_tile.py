"""Page tile: scores and weighted sums of packed pages, bit for bit those of the golden integer form."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.array import accumulate
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw import payloads
from hw.config import Config
from hw.kv.page_reader import ERRORS
from hw.kv.payloads import page_format, word
from sim import context
from sim.benches.kv.pages import FORMATS, form_fields, parts_of, random_elements, words_of
from sim.coverage import Coverage
from sim.pulses import PulseCounter
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters().get("pages", 0)
PACES = context.parameters().get("paces", [])
WIDTH = config.kv.word_bits
TOP = 29

coverage = Coverage(
    "kv_page_tile",
    {
        "format": tuple(f"{rule}{bits}" for rule, bits in FORMATS),
        "side": ("key", "value"),
        "folded": (False, True),
    },
)


class Product:
    """Some outputs of a page, with activations of their own."""

    def __init__(self, layout: PageLayout, integers: np.ndarray, group: int, scales: tuple | None) -> None:
        """Args: integers [outputs, inputs]; steps and offsets [outputs, groups], or None where folded."""
        rng = np.random.default_rng(random.getrandbits(32))
        self.activations = (rng.standard_normal(integers.shape[1]) * 2.0 ** rng.integers(-6, 6)).astype(
            np.float16
        )
        step, offset = scales or (None, None)
        form = layout.format
        numbers = {} if scales is None else {"step": step, "offset": offset, "top": TOP}
        result = accumulate(
            integers, self.activations.astype(np.float32), group, form.dtype, config.numerics, **numbers
        )
        self.results = result.astype(np.float32).view(np.uint32).tolist()

    def beats(self) -> list[dict[str, Any]]:
        """Payloads of the activation stream; every token column gets the same."""
        lanes = config.activation_lanes
        rows = self.activations.view(np.uint16).reshape(-1, lanes).tolist()
        return [
            {
                "elements": [row] * config.columns,
                "last": number == len(rows) - 1,
                "format": payloads.ActivationFormat.FP16,
            }
            for number, row in enumerate(rows)
        ]


class Bench:
    """The page tile with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.words = StreamSource(domain, "words", word(WIDTH), where.source)
        beat = payloads.activation_beat(config)
        self.activations = StreamSource(domain, "activations", beat, where.source)
        self.board = Scoreboard("factors", word(WIDTH))
        self.factors = StreamSink(
            domain, "factors", word(WIDTH), where.sink, where.sink_waits, self.board.observe
        )
        self.results = StreamSink(domain, "results", payloads.result(config), where.sink, where.sink_waits)
        self.errors = PulseCounter(domain, (*ERRORS, "error_group"))
        domain.dut.top_field.value = TOP
        self.wanted: list[tuple[int, bool, bool]] = []

    def send(self, layout: PageLayout, cut: int = 0) -> None:
        """A page of random elements, without its last ``cut`` words, and its activations."""
        form = layout.format
        quantized = form.quantize(random_elements(layout, "normal"))
        page = layout.pack(quantized)
        words = words_of(page, WIDTH)
        if cut:
            words = words[:-cut]
            page = np.concatenate([page[: len(words) * WIDTH // 8], page[len(words) * WIDTH // 8 :] * 0])
            quantized = layout.unpack(page)
        self.formats.send(form_fields(layout))
        last = len(words) - 1
        self.words.send_all({"data": data, "last": number == last} for number, data in enumerate(words))
        products = list(products_of(layout, quantized))
        if is_folded(layout):
            numbers = parts_of(layout, page, WIDTH)[0]
            self.board.expect_all({"data": d, "last": n == len(numbers) - 1} for n, d in enumerate(numbers))
        for number, product in enumerate(products):
            self.activations.send_all(product.beats())
            count = len(product.results)
            damaged = cut and number == len(products) - 1
            for row, bits in enumerate(product.results):
                self.wanted.append((bits, row == count - 1, bool(damaged and row >= count - config.rows)))

    async def finish(self, **errors: int) -> None:
        """Compare all results."""
        units = config.rescale_units
        got = await self.results.receive(len(self.wanted) // units)
        for number, beat in enumerate(got):
            wanted = self.wanted[number * units : (number + 1) * units]
            for (bits, *_), row in zip(wanted, beat["rows"], strict=True):
                assert row == [bits] * config.columns, (number, row, bits)
            _, last, damaged = wanted[-1]
            assert (beat["last"], beat["error"]) == (last, damaged), number
            assert beat["count"] == units
        await self.domain.cycles(20)
        self.board.finish()
        self.errors.expect(errors)


def is_folded(layout: PageLayout) -> bool:
    """Whether scales belong to inputs."""
    return (layout.format.axis == "channel") == (layout.side == "key")


def products_of(layout: PageLayout, quantized):
    """The products of a page, in order."""
    form = layout.format
    integers = form.integers(quantized.codes)
    outputs = integers if layout.side == "key" else integers.T
    if is_folded(layout):
        for own in np.split(outputs, len(outputs) // form.group):
            yield Product(layout, own, config.group, None)
    else:
        step, offset = (part.astype(np.float16) for part in form.line(quantized.scale, quantized.zero))
        if layout.side == "value":
            step, offset = step.T, offset.T
        yield Product(layout, outputs, config.group, (step, offset))


def random_page(rule: str, bits: int, side: str, folded: bool) -> PageLayout:
    """A page whose scales, if not folded, follow the array's groups."""
    axis = "channel" if (side == "key") == folded else "token"
    unit = max(16, config.lanes if side == "key" else config.rows)
    channels = unit * random.randint(1, config.kv.channels // unit)
    length = config.kv.page_tokens if axis == "channel" else channels
    if not folded and axis == "token":
        channels = length = config.group * random.randint(1, config.kv.channels // config.group)
    groups = [group for group in (16, 32, 64, 128) if length % group == 0]
    group = random.choice(groups) if folded else config.group
    form = Format(rule, bits, axis, group, 0.5)
    return PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=1_000_000)
    return Bench(domain, stalls)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_format(dut: Any, stalls: str) -> None:
    """Keys and values of every format, folded and not, page after page."""
    bench = await start(dut, stalls)
    kinds = list(itertools.product(FORMATS, ("key", "value"), (False, True)))
    random.shuffle(kinds)
    for (rule, bits), side, folded in kinds[:COUNT]:
        bench.send(random_page(rule, bits, side, folded))
        coverage.hit(format=f"{rule}{bits}", side=side, folded=folded)
    await bench.finish()


@cocotb.test()
async def damaged_pages(dut: Any) -> None:
    """A page cut short gives marked results, the next one intact ones."""
    bench = await start(dut)
    for cut in (1, 2, 0):
        for side in ("key", "value"):
            bench.send(random_page("native", 4, side, True), cut)
            bench.send(random_page("native", 2, side, True))
    await bench.finish(error_short=4)


@cocotb.test()
async def other_groups(dut: Any) -> None:
    """Scales that follow other groups than the activations do are refused, loudly."""
    bench = await start(dut)
    form = Format("native", 4, "token", 16)
    layout = PageLayout(form, "key", config.kv.page_tokens, config.group, config.rows, config.lanes)
    bench.send(layout)
    beats = await bench.results.receive(len(bench.wanted) // config.rescale_units)
    assert [beat["error"] for beat in beats][-1] == 1
    bench.wanted.clear()
    bench.send(random_page("native", 3, "key", True))
    await bench.finish(error_group=1)


@cocotb.test(skip=not PACES)
async def paces(dut: Any) -> None:
    """Cycles from the first word to the last result of so many equal pages, for each format from outside."""
    bench, seen = await start(dut), []
    for name in ("words", "results"):
        StreamMonitor(bench.domain, name, observer=lambda _: seen.append(bench.domain.cycle))
    for rule, bits, side, axis, group, channels, pages in PACES:
        form = Format(rule, bits, axis, group, 0.5)
        layout = PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes)
        for _ in range(pages):
            bench.send(layout)
        await bench.finish()
        name = f"{rule} {bits} {side} {axis} {group} {channels} {pages}"
        dut._log.info(f"pages {name}: {seen[-1] - seen[0] + 1} cycles")
        seen.clear()
        bench.wanted.clear()
