"""Page writer: float16 pages, random ones and given ones of real models, to golden bytes."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.pages import FORMATS, KINDS, random_elements, random_layout
from sim.benches.kv.writer_streams import WriterStreams
from sim.benches.kv.written_pages import sent_elements, written_pages_of_every_fault
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
GIVEN: list[dict[str, Any]] = context.parameters().get("given", [])
LANES = config.kv.lanes

errors = ErrorPlan("kv_page_writer")
coverage_rate = Coverage("kv_page_writer_rate", {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS)})


async def start(dut: Any, stalls: str = "free_running") -> WriterStreams:
    return WriterStreams(await reset(dut, cycle_limit=20_000_000), config, errors, stalls)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_page(dut: Any, stalls: str) -> None:
    """Pages of random formats and elements of every kind."""
    bench = await start(dut, stalls)
    for _ in range(COUNT):
        layout = random_layout(config)
        bench.send(sent_elements(layout, random_elements(layout, random.choice(tuple(KINDS))), LANES))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def faults(dut: Any, spacing: str) -> None:
    """Bad pages are counted and left out, the pages between them intact ones."""
    bench = await start(dut)
    pages = list(written_pages_of_every_fault(config, 5 * (spacing == "apart")))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.elements), acts, spacing)
    await bench.finish(
        spacing, **{name: sum(page.counts.get(name, 0) for page in pages) for name in errors.names}
    )


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Without stalls page after page of all formats takes the quantiser's cycles."""
    bench = await start(dut)
    ends = bench.page_ends()
    layouts = [random_layout(config, *form, short=True) for form in (FORMATS[-1], *FORMATS)]
    for layout in layouts:
        bench.send(sent_elements(layout, random_elements(layout, "normal"), LANES))
    await bench.finish()
    wanted = [page_cycles(config, layout.format, layout.groups, layout.elements) for layout in layouts[1:]]
    assert np.diff(ends).tolist() == wanted, layouts
    for rule, bits in FORMATS:
        coverage_rate.hit(format=f"{rule}{bits}")


@cocotb.test(skip=not GIVEN)
async def given_pages(dut: Any) -> None:
    """Pages that a model wrote."""
    bench = await start(dut)
    for page in GIVEN:
        x = np.array(page["elements"], np.uint16).view(np.float16)
        form = Format(**page["format"])
        layout = PageLayout(form, page["side"], *x.shape, config.rows, config.lanes)
        bench.send(sent_elements(layout, x, LANES))
    await bench.finish()
