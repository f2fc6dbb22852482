"""Quantiser: pages of every format and kind of elements, equal to golden bit for bit, whatever the stalls."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, Coding, code_beat, element_beat, page_format
from hw.kv.quantiser import FLAGS, page_cycles
from sim import context
from sim.benches.kv.pages import (
    FORMATS,
    KINDS,
    PLACES,
    RULES,
    beats_of,
    elements_of,
    form_fields,
    random_elements,
    random_layout,
)
from sim.coverage import Coverage
from sim.pulses import PulseCounter
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]

coverage = Coverage("kv_quantiser", {"kind": tuple(KINDS), "rule": RULES})
coverage_formats = Coverage(
    "kv_quantiser_formats",
    {
        "format": tuple(f"{rule}{bits}" for rule, bits in FORMATS),
        "side": ("key", "value"),
        "axis": ("token", "channel"),
    },
)


class Bench:
    """The quantiser with its streams, and counters of its flags."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        shape = code_beat(config.kv.lanes)
        self.board = Scoreboard("beats", shape)
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.sink = StreamSink(domain, "beats", shape, where.sink, where.sink_waits, self.board.observe)
        self.flags = PulseCounter(domain, FLAGS)
        self._wanted = 0

    def send(self, layout: PageLayout, x: np.ndarray, kept: np.ndarray | None = None) -> None:
        """A page that becomes what golden says of it, or of ``kept``."""
        self.formats.send(form_fields(layout))
        self.elements.send_all(elements_of(x, config.kv.lanes))
        beats = beats_of(layout, x if kept is None else kept, config.kv.lanes)
        self.board.expect_all(beats)
        self._wanted += len(beats)

    async def finish(self, **flags: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the flags."""
        await self.sink.wait_for(self._wanted)
        await self.elements.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.flags.expect(flags)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=3_000_000)
    return Bench(domain, stalls)


@cocotb.test()
async def every_format(dut: Any) -> None:
    """All formats, on both sides and axes, page after page."""
    bench = await start(dut)
    for number in range(COUNT):
        rule, bits = FORMATS[number % len(FORMATS)]
        layout = random_layout(config, rule, bits, PLACES[number // len(FORMATS) % len(PLACES)])
        bench.send(layout, random_elements(layout, "normal"))
        name = f"{rule}{bits}"
        coverage_formats.hit(format=name, side=layout.side, axis=layout.format.axis)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(kind=tuple(KINDS))
async def every_kind(dut: Any, kind: str) -> None:
    """Elements that are hard to quantise."""
    bench = await start(dut)
    for number in range(max(COUNT // 2, len(RULES))):
        layout = random_layout(config, RULES[number % len(RULES)] if number < 6 else "native")
        bench.send(layout, random_elements(layout, kind))
        coverage.hit(kind=kind, rule=layout.format.rule)
    await bench.finish()


@cocotb.test()
async def every_tie_around_zero(dut: Any) -> None:
    """Codes without a minimum: elements of either sign halfway between two codes go to the even one."""
    bench = await start(dut)
    for bits in (bits for rule, bits in FORMATS if rule == "native_symmetric"):
        layout = random_layout(config, "native_symmetric", bits)
        most = (1 << bits - 1) - 1
        shape = layout.tokens, layout.channels
        x = np.random.default_rng(random.getrandbits(32)).integers(-most, most, shape) + 0.5
        x[np.indices(shape).sum(0) % SHORTEST_GROUP == 0] = random.choice((most, -most))  # once a group
        bench.send(layout, (x * 2.0 ** random.choice((-23, -4, 0, 5))).astype(np.float16))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(3):
        layout = random_layout(config)
        bench.send(layout, random_elements(layout, random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(number=range(len(FORMATS)))
async def exact_cycles(dut: Any, number: int) -> None:
    """Without stalls a page that is complete takes the cycles of the formula."""
    bench = await start(dut)
    ends: list[int] = []

    def note(bits: int) -> None:
        if bench.sink.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "beats", code_beat(config.kv.lanes), note)
    layout = random_layout(config, *FORMATS[number])
    for _ in range(3):
        bench.send(layout, random_elements(layout, "normal"))
    await bench.finish()
    wanted = page_cycles(config, layout.format, layout.groups, layout.elements)
    assert ends[2] - ends[1] == wanted, (layout, ends[2] - ends[1], wanted)


@cocotb.test()
async def clamps(dut: Any) -> None:
    """Infinities and NaNs count as the largest numbers of their sign, and are flagged."""
    bench = await start(dut)
    layout = random_layout(config, "native", 4)
    x = random_elements(layout, "normal")
    kept = x.copy()
    for value, largest in ((np.inf, 65504), (-np.inf, -65504), (np.nan, 65504)):
        place = random.randrange(layout.tokens), random.randrange(layout.channels)
        x[place], kept[place] = value, largest
    beats = np.any(x.view(np.uint16).reshape(-1, config.kv.lanes) & 0x7C00 == 0x7C00, axis=1).sum()
    bench.send(layout, x, kept)
    await bench.finish(clamped=int(beats))


@cocotb.test()
async def faults(dut: Any) -> None:
    """Impossible formats, short and long pages are counted and left out; the pages between are intact."""
    bench = await start(dut)

    def good() -> None:
        layout = random_layout(config)
        bench.send(layout, random_elements(layout, "normal"))

    def bad(beats: int | None = None, **fields: Any) -> None:
        layout = random_layout(config)
        elements = elements_of(random_elements(layout, "normal"), config.kv.lanes)
        bench.formats.send(form_fields(layout) | fields)
        if beats is not None:
            elements = (elements * 2)[: beats if beats >= 0 else len(elements) - beats]
            elements = [beat | {"last": False} for beat in elements]
            elements[-1]["last"] = True
        bench.elements.send_all(elements)

    good()
    bad(coding=6)
    bad(coding=7)
    good()
    bad(channels=0)
    bad(1, coding=Coding.TRITS, axis=1, group=3)  # 128 tokens a group
    good()
    bad(1)
    bad(7)
    good()
    bad(-1)
    bad(-5)
    good()
    await bench.finish(error_format=4, error_short=2, error_long=2)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = await start(dut)
    layout = random_layout(config)
    bench.formats.send(form_fields(layout))
    bench.elements.send_all(elements_of(random_elements(layout, "normal"), config.kv.lanes)[:-3])
    await bench.elements.drained()
    await bench.domain.reset()
    layout = random_layout(config)
    bench.send(layout, random_elements(layout, "normal"))
    await bench.finish()
