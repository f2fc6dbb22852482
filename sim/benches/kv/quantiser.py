"""Quantiser: pages of every format and kind of elements, equal to golden bit for bit, whatever the stalls."""

import itertools
import random
from collections import deque
from typing import Any

import cocotb
import numpy as np

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import code_beat, element_beat, page_record
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.pages import (
    FORMATS,
    KINDS,
    PLACES,
    RULES,
    beats_of,
    random_elements,
    random_layout,
    tied_elements,
)
from sim.benches.kv.written_pages import WrittenPage, sent_elements, written_pages_of_every_fault
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
LANES = config.kv.lanes
NAMES = tuple(f"{rule}{bits}" for rule, bits in FORMATS)
DIVIDED = tuple((rule, bits) for rule, bits in FORMATS if rule.startswith("native"))
"""Formats whose codes are rounded quotients."""

errors = ErrorPlan("kv_quantiser")
coverage = Coverage("kv_quantiser", {"kind": tuple(KINDS), "rule": RULES})
coverage_formats = Coverage(
    "kv_quantiser_formats",
    {
        "format": NAMES,
        "side": ("key", "value"),
        "axis": ("token", "channel"),
    },
)
coverage_ties = Coverage(
    "kv_quantiser_ties",
    {"format": tuple(f"{rule}{bits}" for rule, bits in DIVIDED), "negative": (False, True)},
)
coverage_rate = Coverage("kv_quantiser_rate", {"format": NAMES})


class Bench:
    """The quantiser with its streams, and counters of its flags."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        shape = code_beat(config.kv.lanes)
        self.board = Scoreboard("beats", shape)
        self.formats = StreamSource(domain, "formats", page_record(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.sink = StreamSink(domain, "beats", shape, where.sink, where.sink_waits, self._observe)
        self.errors = ErrorCounter(domain, errors)
        self.tops: deque[int] = deque()
        self._top = domain.reader("largest")
        self._wanted = 0

    def _observe(self, bits: int) -> None:
        """A beat is golden's, and the page's last one comes with its ``top``."""
        self.board.observe(bits)
        if self.sink.codec.unpack(bits)["last"]:
            assert self._top() == self.tops.popleft()

    def send(self, page: WrittenPage) -> None:
        """A page that becomes what golden says of it, unless it is left out."""
        self.formats.send(page.record)
        self.elements.send_all(page.beats)
        if page.kept is not None:
            beats = beats_of(page.layout, page.kept, LANES)
            self.board.expect_all(beats)
            self.tops.append(page.top)
            self._wanted += len(beats)

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self._wanted)
        await self.elements.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(counts, spacing)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=3_000_000)
    return Bench(domain, stalls)


def intact(layout: PageLayout, kind: str = "normal") -> WrittenPage:
    """A page of elements of a kind."""
    return sent_elements(layout, random_elements(layout, kind), LANES)


@cocotb.test()
async def every_format(dut: Any) -> None:
    """All formats, on both sides and axes, page after page."""
    bench = await start(dut)
    for number in range(COUNT):
        rule, bits = FORMATS[number % len(FORMATS)]
        layout = random_layout(config, rule, bits, PLACES[number // len(FORMATS) % len(PLACES)])
        bench.send(intact(layout))
        coverage_formats.hit(format=f"{rule}{bits}", side=layout.side, axis=layout.format.axis)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(kind=tuple(KINDS))
async def every_kind(dut: Any, kind: str) -> None:
    """Elements that are hard to quantise."""
    bench = await start(dut)
    for number in range(max(COUNT // 2, len(RULES))):
        layout = random_layout(config, RULES[number % len(RULES)] if number < 6 else "native")
        bench.send(intact(layout, kind))
        coverage.hit(kind=kind, rule=layout.format.rule)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(3):
        bench.send(intact(random_layout(config), random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test()
async def every_tie(dut: Any) -> None:
    """Elements halfway between any two codes, of both signs, go to the even one, others to the nearest."""
    bench = await start(dut)
    for (rule, bits), (sign, off) in itertools.product(DIVIDED, ((1, 0), (-1, 0), (1, 1), (1, -1))):
        if rule == "native" or (sign, off) == (1, 0):
            layout = random_layout(config, rule, bits, short=True)
            x = tied_elements(layout, sign, off)
            bench.send(sent_elements(layout, x, LANES))
            for negative in {*(x < 0).ravel().tolist()}:
                coverage_ties.hit(format=f"{rule}{bits}", negative=negative)
    await bench.finish()


@cocotb.test()
async def largest_scales(dut: Any) -> None:
    """Ranges on both sides of those that would round to infinity."""
    bench = await start(dut)
    for low in (0, 1, 15, 16, 17, 32, 48, 64, 65504):
        layout = random_layout(config, "native", 1, short=True)
        first = np.indices((layout.tokens, layout.channels)).sum(0) & 1
        bench.send(sent_elements(layout, np.where(first, 65504, -low).astype(np.float16), LANES))
    await bench.finish()


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Without stalls page after page takes the cycles of the formula, and arrives in a cycle a beat."""
    bench = await start(dut)
    ends: list[int] = []
    taken: list[int] = []

    def note(bits: int) -> None:
        if bench.sink.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "beats", code_beat(LANES), note)
    StreamMonitor(bench.domain, "elements", observer=lambda _: taken.append(bench.domain.cycle))
    formats = [*FORMATS, FORMATS[0]]
    layouts = [random_layout(config, *form, short=True) for form in formats]
    for layout in layouts:
        bench.send(intact(layout))
    await bench.finish()
    wanted = [page_cycles(config, layout.format, layout.groups, layout.elements) for layout in layouts[1:]]
    assert np.diff(ends).tolist() == wanted, layouts
    arrivals = np.reshape(taken, (len(layouts), -1))
    assert (np.diff(arrivals) == 1).all()
    for name in NAMES:
        coverage_rate.hit(format=name)


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def faults(dut: Any, spacing: str) -> None:
    """Impossible formats, short and long pages are counted and left out, infinities and NaNs clamped."""
    bench = await start(dut)
    pages = list(written_pages_of_every_fault(config, 5 * (spacing == "apart")))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.elements), acts, spacing)
    await bench.finish(
        spacing, **{name: sum(page.counts.get(name, 0) for page in pages) for name in errors.names}
    )


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = await start(dut)
    page = intact(random_layout(config))
    bench.send(page._replace(beats=page.beats[:-3], kept=None))
    await bench.elements.drained()
    await bench.domain.reset()
    bench.send(intact(random_layout(config)))
    await bench.finish()
