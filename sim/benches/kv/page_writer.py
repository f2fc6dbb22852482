"""Page writer: float16 pages, random ones and given ones of real models, to golden bytes."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import element_beat, page_record, written_word
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.pages import FORMATS, KINDS, random_elements, random_layout, words_of
from sim.benches.kv.written_pages import WrittenPage, sent_elements, written_pages_of_every_fault
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
GIVEN: list[dict[str, Any]] = context.parameters().get("given", [])
WIDTH = config.memory_bits
LANES = config.kv.lanes

errors = ErrorPlan("kv_page_writer")
coverage_rate = Coverage("kv_page_writer_rate", {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS)})


class Bench:
    """The writer with its streams, and counters of its errors."""

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

    def send(self, page: WrittenPage) -> None:
        """A page that becomes what golden says of it, unless it is left out."""
        self.formats.send(page.record)
        self.elements.send_all(page.beats)
        if page.kept is not None:
            words = words_of(page.layout.pack(page.layout.format.quantize(page.kept)), WIDTH)
            *others, last = words
            self.board.expect_all({"data": data, "last": False, "top": 0} for data in others)
            self.board.expect({"data": last, "last": True, "top": page.top})
            self.wanted += len(words)

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected word, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.elements.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(counts, spacing)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=20_000_000)
    return Bench(domain, stalls)


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
    ends: list[int] = []

    def note(bits: int) -> None:
        if bench.sink.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "words", written_word(WIDTH), note)
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
