"""Half reader: the float16 elements of packed pages, damaged ones among them, at the documented rate."""

import itertools
import random
from typing import Any

import cocotb

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.dequantiser import PAGE_OVERHEAD
from hw.kv.payloads import HALF_BITS, page_format, value_beat, word
from sim import context
from sim.benches.kv.bad_pages import SentPage, intact_page, pages_of_every_fault
from sim.benches.kv.decoded_pages import values_of
from sim.benches.kv.pages import FORMATS, KINDS, random_layout
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
WIDTH = config.memory_bits
LANES = config.kv.lanes

errors = ErrorPlan("kv_half_reader")
coverage_rate = Coverage("kv_half_reader_rate", {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS)})


class Bench:
    """The half reader with its streams and counters of its errors."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        shape = value_beat(config)
        self.board = Scoreboard("elements", shape)
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.words = StreamSource(domain, "words", word(WIDTH), where.source)
        self.sink = StreamSink(domain, "elements", shape, where.sink, where.sink_waits, self.board.observe)
        self.errors = ErrorCounter(domain, errors)
        self.wanted = 0

    def send(self, page: SentPage) -> None:
        """A page, and the values that must come of it."""
        self.formats.send(page.form)
        self.words.send_all(page.word_beats())
        if page.kept is None:
            return
        layout = page.layout
        values = values_of(layout, layout.unpack(page.kept), LANES, page.fault is not None)
        for value, elements in zip(values, page.unknown_bits(LANES, HALF_BITS), strict=True):
            unknown = {"elements": elements, "token": 0, "beat": 0, "error": 0, "last": 0}
            self.board.expect(value, unknown if any(elements) else 0)
        self.wanted += len(values)

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.words.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(counts, spacing)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=2_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_page(dut: Any, stalls: str) -> None:
    """Every format, of elements of every kind."""
    bench = await start(dut, stalls)
    for number in range(COUNT):
        layout = random_layout(config, *FORMATS[number % len(FORMATS)])
        bench.send(intact_page(layout, WIDTH, random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_pages(dut: Any, spacing: str) -> None:
    """Every fault after every other one; the pages between are intact."""
    bench = await start(dut)
    variant = 5 * (spacing == "apart")
    pages = list(pages_of_every_fault(config, lambda rule: random_layout(config, rule, short=True), variant))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.words), acts, spacing)
    counts = {name: sum(page.fault == name for page in pages) for name in errors.names}
    await bench.finish(spacing, **counts)


def words_of_codes(layout: PageLayout, count: int) -> int:
    """Words that so many codes of a page take."""
    return -(-layout.format.coding.length(count) * 8 // WIDTH)


def reading_cycles(layout: PageLayout, following: PageLayout) -> int:
    """Cycles of a page: its values', and those in which a beat of codes is read when the one before has left.

    A page's first beat is read while the last values of the page before are still under way.
    """
    words = words_of_codes(layout, layout.elements) - words_of_codes(layout, WIDTH)
    beats = layout.elements // WIDTH - 1
    first = max(words_of_codes(following, WIDTH) - 1 - PAGE_OVERHEAD, 0)
    return layout.elements // LANES + PAGE_OVERHEAD + words - beats + first


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Page after page of all formats takes the dequantiser's cycles and those of reading its words."""
    bench = await start(dut)
    begins: list[int] = []

    def note(bits: int) -> None:
        value = bench.sink.codec.unpack(bits)
        if value["token"] == value["beat"] == 0:
            begins.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "elements", value_beat(config), note)
    layouts = [random_layout(config, *form, short=True) for form in (*FORMATS, FORMATS[0])]
    for layout in layouts:
        bench.send(intact_page(layout, WIDTH))
    await bench.finish()
    taken = [after - before for before, after in itertools.pairwise(begins)]
    assert taken == [reading_cycles(*pair) for pair in itertools.pairwise(layouts)], (layouts, taken)
    for rule, bits in FORMATS:
        coverage_rate.hit(format=f"{rule}{bits}")
