"""Page writer with BitMoD's data types: pages of them among others, to golden bytes."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.kv import bitmod
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import Axis, Coding, Side, element_beat, page_record, written_word
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.bitmod_pages import TYPES, bitmod_fields, bitmod_layout, values_of_every_choice
from sim.benches.kv.pages import FORMATS, KINDS, PLACES, random_elements, random_layout, words_of
from sim.benches.kv.written_pages import WrittenPage, sent_elements
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
GIVEN: list[dict[str, Any]] = context.parameters().get("given", [])
WIDTH = config.memory_bits
LANES = config.kv.lanes

errors = ErrorPlan("kv_page_writer")
coverage = Coverage(
    "kv_bitmod_writer", {"type": TYPES, "side": ("key", "value"), "axis": ("token", "channel")}
)
coverage_kinds = Coverage("kv_bitmod_writer_kinds", {"type": TYPES, "kind": tuple(KINDS)})
coverage_choices = Coverage("kv_bitmod_writer_choices", {"type": TYPES, "selector": range(4)})
coverage_rate = Coverage("kv_bitmod_writer_rate", {"type": TYPES})


class Bench:
    """The writer with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.board = Scoreboard("words", written_word(WIDTH))
        self.formats = StreamSource(domain, "formats", page_record(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.sink = StreamSink(
            domain, "words", written_word(WIDTH), where.sink, where.sink_waits, self.board.observe
        )
        self.errors = ErrorCounter(domain, errors)
        self.wanted = 0

    def send(self, layout: PageLayout, x: NDArray[np.float16]) -> None:
        """A page that becomes what golden says of it."""
        page = sent_elements(layout, x, LANES)
        self.formats.send(page.record | {"form": bitmod_fields(layout)})
        self.elements.send_all(page.beats)
        self._expect(page)

    def _expect(self, page: WrittenPage) -> None:
        form = page.layout.format
        quantized = form.quantize(page.kept)
        if form.kind == "bitmod":
            for selector in np.unique(quantized.selector):
                coverage_choices.hit(type=form.rule, selector=int(selector))
        *others, last = words_of(page.layout.pack(quantized), WIDTH)
        self.board.expect_all({"data": data, "last": False, "top": 0} for data in others)
        self.board.expect({"data": last, "last": True, "top": page.top})
        self.wanted += len(others) + 1

    async def finish(self, **counts: int) -> None:
        """Wait for every expected word, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.elements.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(counts)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=20_000_000)
    return Bench(domain, stalls)


@cocotb.test()
async def every_place(dut: Any) -> None:
    """Both types, sides and axes, between pages of other rules."""
    bench = await start(dut)
    for number in range(COUNT):
        for name, place in itertools.product(TYPES, PLACES):
            layout = bitmod_layout(config, name, place, short=number == 0)
            bench.send(layout, random_elements(layout, "normal"))
            coverage.hit(type=name, side=layout.side, axis=layout.format.axis)
            other = random_layout(config, *random.choice(FORMATS), short=True)
            bench.send(other, random_elements(other, "normal"))
    await bench.finish()


@cocotb.test()
async def every_kind(dut: Any) -> None:
    """Elements that are hard to quantise, and ones that are read off, halfway between values and beside."""
    bench = await start(dut)
    for name, kind in itertools.product(TYPES, KINDS):
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        bench.send(layout, random_elements(layout, kind))
        coverage_kinds.hit(type=name, kind=kind)
    for name, off in itertools.product(TYPES, (-1, 0, 1)):
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        bench.send(layout, values_of_every_choice(layout, off))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for name in TYPES:
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        bench.send(layout, random_elements(layout, random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Without stalls page after page takes the cycles of the formula."""
    bench = await start(dut)
    ends: list[int] = []

    def note(bits: int) -> None:
        if bench.sink.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "words", written_word(WIDTH), note)
    layouts = [bitmod_layout(config, name, place, short=True) for place in PLACES for name in TYPES]
    for layout in layouts:
        bench.send(layout, random_elements(layout, "normal"))
    await bench.finish()
    wanted = [page_cycles(config, layout.format, layout.groups, layout.elements) for layout in layouts[1:]]
    assert np.diff(ends).tolist() == wanted, layouts
    for name in TYPES:
        coverage_rate.hit(type=name)


@cocotb.test()
async def impossible_formats(dut: Any) -> None:
    """Types of other codings, without magnitude, or with selectors that fill no words are left out."""
    bench = await start(dut)
    layout = bitmod_layout(config, TYPES[0], ("key", "channel"), short=True)
    wrong = [{"coding": coding} for coding in Coding if coding not in (Coding.BITS3, Coding.BITS4)]
    wrong += [{"magnitude": 0}, {"channels": 1, "group": 1, "axis": Axis.CHANNEL, "side": Side.KEY}]
    for fields in wrong:
        page = sent_elements(layout, random_elements(layout, "normal"), LANES)
        form = bitmod_fields(layout) | fields
        bench.formats.send(page.record | {"form": form})
        bench.elements.send_all(page.beats)
    bench.send(layout, random_elements(layout, "normal"))
    await bench.finish(error_format=len(wrong))


@cocotb.test(skip=not GIVEN)
async def given_pages(dut: Any) -> None:
    """Pages that a model wrote, of both types."""
    bench = await start(dut)
    for page in GIVEN:
        x = np.array(page["elements"], np.uint16).view(np.float16)
        for name in TYPES:
            form = Format(name, bitmod.TYPES[name], page["axis"], 32)
            bench.send(PageLayout(form, page["side"], *x.shape, config.rows, config.lanes), x)
    await bench.finish()
