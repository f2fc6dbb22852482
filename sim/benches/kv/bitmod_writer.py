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
from hw.kv.payloads import Axis, Coding, Side
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.bitmod_pages import TYPES, bitmod_layout, values_of_every_choice
from sim.benches.kv.pages import FORMATS, KINDS, PLACES, page_fields, random_elements, random_layout
from sim.benches.kv.writer_streams import WriterStreams
from sim.benches.kv.written_pages import sent_elements
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.streams import SITUATIONS, reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
GIVEN: list[dict[str, Any]] = context.parameters().get("given", [])
LANES = config.kv.lanes

errors = ErrorPlan("kv_page_writer")
coverage = Coverage(
    "kv_bitmod_writer", {"type": TYPES, "side": ("key", "value"), "axis": ("token", "channel")}
)
coverage_kinds = Coverage("kv_bitmod_writer_kinds", {"type": TYPES, "kind": tuple(KINDS)})
coverage_choices = Coverage("kv_bitmod_writer_choices", {"type": TYPES, "selector": range(4)})
coverage_rate = Coverage("kv_bitmod_writer_rate", {"type": TYPES})


def send(bench: WriterStreams, layout: PageLayout, x: NDArray[np.float16]) -> None:
    """A page whose choices are noted."""
    form = layout.format
    quantized = bench.send(sent_elements(layout, x, LANES)._replace(form=page_fields(config, layout)))
    if form.kind == "bitmod":
        for selector in np.unique(quantized.selector):
            coverage_choices.hit(type=form.rule, selector=int(selector))


async def start(dut: Any, stalls: str = "free_running") -> WriterStreams:
    return WriterStreams(await reset(dut, cycle_limit=20_000_000), config, errors, stalls)


@cocotb.test()
async def every_place(dut: Any) -> None:
    """Both types, sides and axes, between pages of other rules."""
    bench = await start(dut)
    for number in range(COUNT):
        for name, place in itertools.product(TYPES, PLACES):
            layout = bitmod_layout(config, name, place, short=number == 0)
            send(bench, layout, random_elements(layout, "normal"))
            coverage.hit(type=name, side=layout.side, axis=layout.format.axis)
            other = random_layout(config, *random.choice(FORMATS), short=True)
            send(bench, other, random_elements(other, "normal"))
    await bench.finish()


@cocotb.test()
async def every_kind(dut: Any) -> None:
    """Elements that are hard to quantise, and ones that are read off, halfway between values and beside."""
    bench = await start(dut)
    for name, kind in itertools.product(TYPES, KINDS):
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        send(bench, layout, random_elements(layout, kind))
        coverage_kinds.hit(type=name, kind=kind)
    for name, off in itertools.product(TYPES, (-1, 0, 1)):
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        send(bench, layout, values_of_every_choice(layout, off))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for name in TYPES:
        layout = bitmod_layout(config, name, random.choice(PLACES), short=True)
        send(bench, layout, random_elements(layout, random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Without stalls page after page takes the cycles of the formula."""
    bench = await start(dut)
    ends = bench.page_ends()
    layouts = [bitmod_layout(config, name, place, short=True) for place in PLACES for name in TYPES]
    for layout in layouts:
        send(bench, layout, random_elements(layout, "normal"))
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
        bench.send(page._replace(form=page_fields(config, layout) | fields, kept=None))
    send(bench, layout, random_elements(layout, "normal"))
    await bench.finish(error_format=len(wrong))


@cocotb.test(skip=not GIVEN)
async def given_pages(dut: Any) -> None:
    """Pages that a model wrote, of both types."""
    bench = await start(dut)
    for page in GIVEN:
        x = np.array(page["elements"], np.uint16).view(np.float16)
        for name in TYPES:
            form = Format(name, bitmod.TYPES[name], page["axis"], 32)
            send(bench, PageLayout(form, page["side"], *x.shape, config.rows, config.lanes), x)
    await bench.finish()
