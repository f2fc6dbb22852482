"""Page tile: scores and weighted sums of packed pages, bit for bit those of the golden integer form."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden.kv.affine import Quantized
from golden.kv.array import accumulate
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw import payloads
from hw.config import Config
from hw.kv.payloads import page_format, word
from sim import context
from sim.benches.kv.bad_pages import FAULTS, SentPage, bad_page, intact_page, pages_of_every_fault
from sim.benches.kv.decoded_pages import streams_of
from sim.benches.kv.pages import FORMATS, fitting_groups
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters().get("pages", 0)
PACES = context.parameters().get("paces", [])
PERIODS = context.parameters().get("periods", [])
WIDTH = config.memory_bits
TOPS = {"normal": 29, "subnormal": 4}
"""Exponent field that bounds steps and offsets, by kind of elements."""

errors = ErrorPlan("kv_page_tile")
coverage = Coverage(
    "kv_page_tile",
    {
        "format": tuple(f"{rule}{bits}" for rule, bits in FORMATS),
        "side": ("key", "value"),
        "folded": (False, True),
    },
)
coverage_rate = Coverage("kv_page_tile_rate", {"side": ("key", "value"), "folded": (False, True)})


class Product:
    """Some outputs of a page, with activations of their own."""

    def __init__(self, layout: PageLayout, integers: np.ndarray, scales: tuple | None, top: int) -> None:
        """Args: integers [outputs, inputs]; steps and offsets [outputs, groups], or None where folded."""
        rng = np.random.default_rng(random.getrandbits(32))
        self.activations = (rng.standard_normal(integers.shape[1]) * 2.0 ** rng.integers(-6, 6)).astype(
            np.float16
        )
        step, offset = scales or (None, None)
        form = layout.format
        numbers = {} if scales is None else {"step": step, "offset": offset, "top": top}
        activations = self.activations.astype(np.float32)
        result = accumulate(integers, activations, config.group, form.dtype, config.numerics, **numbers)
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
                "halvings": 0,
            }
            for number, row in enumerate(rows)
        ]


class Bench:
    """The page tile with its streams, for pages of one kind of elements."""

    def __init__(self, domain: Domain, stalls: str, kind: str) -> None:
        where = situation(stalls)
        self.domain, self.kind = domain, kind
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.words = StreamSource(domain, "words", word(WIDTH), where.source)
        beat = payloads.activation_beat(config)
        self.activations = StreamSource(domain, "activations", beat, where.source)
        self.board = Scoreboard("factors", word(WIDTH))
        self.factors = StreamSink(
            domain, "factors", word(WIDTH), where.sink, where.sink_waits, self.board.observe
        )
        self.taken = 0
        self.results = StreamSink(domain, "results", payloads.result(config), where.sink, where.sink_waits)
        self.errors = ErrorCounter(domain, errors)
        domain.dut.top_field.value = TOPS[kind]
        self.wanted: list[tuple[int | None, bool, bool]] = []

    def send(self, page: SentPage) -> None:
        """A page with its activations, and the results that must come of them."""
        self.formats.send(page.form)
        self.words.send_all(page.word_beats())
        if page.kept is None:
            return
        layout = page.layout
        if is_folded(layout):
            self.board.expect_all(streams_of(layout, page.kept, WIDTH, False)[0])
        unknown = unknown_outputs(page)
        products = list(products_of(layout, layout.unpack(page.kept), TOPS[self.kind]))
        for number, product in enumerate(products):
            self.activations.send_all(product.beats())
            count = len(product.results)
            ends = number == len(products) - 1
            for row, bits in enumerate(product.results):
                marked = page.fault is not None and ends and row >= count - config.rows
                known = number * count + row not in unknown
                self.wanted.append((bits if known else None, row == count - 1, marked))

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Compare all results, see that no other comes, and compare the errors."""
        units = config.rescale_units
        got = await self.results.receive(len(self.wanted) // units)
        for number, beat in enumerate(got):
            wanted = self.wanted[number * units : (number + 1) * units]
            for (bits, *_), row in zip(wanted, beat["rows"], strict=True):
                assert bits is None or row == [bits] * config.columns, (number, row, bits)
            _, last, marked = wanted[-1]
            assert (beat["last"], beat["error"]) == (last, marked), number
            assert beat["count"] == units
        for source in (self.formats, self.words, self.activations):
            await source.drained()
        await self.domain.cycles(20)
        self.wanted.clear()
        self.board.finish()
        assert self.results.count == self.taken + len(got)
        self.taken = self.results.count
        self.errors.expect(counts, spacing)


def is_folded(layout: PageLayout) -> bool:
    """Whether scales belong to inputs."""
    return (layout.format.axis == "channel") == (layout.side == "key")


def products_of(layout: PageLayout, quantized: Quantized, top: int) -> Iterator[Product]:
    """The products of a page, in order."""
    form = layout.format
    integers = form.integers(quantized.codes)
    outputs = integers if layout.side == "key" else integers.T
    if is_folded(layout):
        for own in np.split(outputs, len(outputs) // form.group):
            yield Product(layout, own, None, top)
    else:
        step, offset = (part.astype(np.float16) for part in form.line(quantized.scale, quantized.zero))
        if layout.side == "value":
            step, offset = step.T, offset.T
        yield Product(layout, outputs, (step, offset), top)


PLACES = tuple(
    (side, folded)
    for side, folded in itertools.product(("key", "value"), (False, True))
    if folded or side == "key" or config.group <= config.kv.page_tokens
)
"""Sides, and whether scales are folded: those of values only where the array's groups fit in a page."""


def random_layout(rule: str, bits: int, side: str, folded: bool) -> PageLayout:
    """A page whose scales, if not folded, follow the array's groups."""
    axis = "channel" if (side == "key") == folded else "token"
    unit = max(16, config.lanes if side == "key" else config.rows)
    heads = range(unit, config.kv.channels + 1, unit)
    groups = {channels: fitting_groups(config, axis, channels) for channels in heads}
    channels = random.choice([head for head in heads if folded or config.group in groups[head]])
    group = random.choice(groups[channels]) if folded else config.group
    form = Format(rule, bits, axis, group, 0.5)
    return PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes)


async def start(dut: Any, stalls: str = "free_running", kind: str = "normal") -> Bench:
    domain = await reset(dut, cycle_limit=1_000_000)
    return Bench(domain, stalls, kind)


def unknown_outputs(page: SentPage) -> set[int]:
    """Outputs of a page that depend on codes which may be anything."""
    tokens, channels = np.divmod(page.layout.order.ravel()[list(page.unknown)], page.layout.channels)
    return {*(tokens if page.layout.side == "key" else channels).tolist()}


def any_layout(rule: str | None = None) -> PageLayout:
    """A page of a rule, or of any."""
    named = random.choice([(name, bits) for name, bits in FORMATS if rule in (name, None)])
    return random_layout(*named, *random.choice(PLACES))


def page_of_other_groups() -> SentPage:
    """An intact page whose scales follow other groups than the activations do."""
    form = Format("native", 4, "token", 16)
    layout = PageLayout(form, "key", config.kv.page_tokens, config.group, config.rows, config.lanes)
    page = intact_page(layout, WIDTH)
    return page._replace(fault="error_group", unknown=range(layout.elements))


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_format(dut: Any, stalls: str) -> None:
    """Keys and values of every format, folded and not, page after page, with normal or subnormal scales."""
    bench = await start(dut, stalls, tuple(TOPS)[SITUATIONS.index(stalls) % 2])
    kinds = list(itertools.product(FORMATS, PLACES))
    random.shuffle(kinds)
    for (rule, bits), (side, folded) in kinds[:COUNT]:
        bench.send(intact_page(random_layout(rule, bits, side, folded), WIDTH, bench.kind))
        coverage.hit(format=f"{rule}{bits}", side=side, folded=folded)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def damaged_pages(dut: Any, spacing: str) -> None:
    """Bad pages give marked results or none, in every order, the pages between intact ones."""
    bench = await start(dut)
    pages = list(pages_of_every_fault(config, any_layout, 5 * (spacing == "apart")))
    for fault in (None, *FAULTS):  # before and after pages of other groups
        layout = any_layout("ternary_mean" if fault == "error_trits" else None)
        bad = intact_page(layout, WIDTH) if fault is None else bad_page(config, layout, fault)
        pages += [page_of_other_groups(), bad, page_of_other_groups()]
    pages.append(intact_page(any_layout(), WIDTH))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.words, bench.activations), acts, spacing)
    await bench.finish(spacing, **{name: sum(page.fault == name for page in pages) for name in errors.names})


def given_layout(rule: str, bits: int, side: str, axis: str, group: int, channels: int) -> PageLayout:
    """A page from outside."""
    form = Format(rule, bits, axis, group, 0.5)
    return PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes)


@cocotb.test(skip=not PERIODS)
async def steady_pace(dut: Any) -> None:
    """Without stalls every page of a format takes the same cycles, and those of the model from outside."""
    bench, ends = await start(dut), []

    def note(bits: int) -> None:
        if bench.results.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "results", payloads.result(config), note)
    for *kind, period in PERIODS:
        layout, pages = given_layout(*kind), 4
        for _ in range(pages):
            bench.send(intact_page(layout, WIDTH))
        await bench.finish()
        products = len(ends) // pages
        taken = {*np.diff(ends[products - 1 :: products]).tolist()}
        assert len(taken) == 1, (layout, taken)
        assert abs(taken.pop() - period) <= 1, (layout, taken, period)
        coverage_rate.hit(side=layout.side, folded=is_folded(layout))
        ends.clear()


@cocotb.test(skip=not PACES)
async def paces(dut: Any) -> None:
    """Cycles from the first word to the last result of so many equal pages, for each format from outside."""
    bench, seen = await start(dut), []
    for name in ("words", "results"):
        StreamMonitor(bench.domain, name, observer=lambda _: seen.append(bench.domain.cycle))
    for *kind, pages in PACES:
        layout = given_layout(*kind)
        for _ in range(pages):
            bench.send(intact_page(layout, WIDTH))
        await bench.finish()
        name = " ".join(map(str, (*kind, pages)))
        dut._log.info(f"pages {name}: {seen[-1] - seen[0] + 1} cycles")
        seen.clear()
