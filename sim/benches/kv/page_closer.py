"""Page closer: float16 copies, as they lie in memory, to the pages that golden makes of their bytes."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv import window
from hw.config import Config
from hw.kv.payloads import page_record, word, written_word
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
WIDTH, LANES = config.memory_bits, config.kv.lanes
WORDS = config.model_copy(update={"kv": config.kv.model_copy(update={"lanes": WIDTH // 16})})
"""As if a beat of elements were a word."""

errors = ErrorPlan("kv_page_closer")
coverage = Coverage("kv_page_closer", {"stalls": SITUATIONS})
coverage_rate = Coverage("kv_page_closer_rate", {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS)})


class Bench:
    """The closer with its streams, and counters of its errors."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        shape = written_word(WIDTH)
        self.board = Scoreboard("words", shape)
        self.formats = StreamSource(domain, "formats", page_record(config), where.source)
        self.copies = StreamSource(domain, "copies", word(WIDTH), where.source)
        self.sink = StreamSink(domain, "words", shape, where.sink, where.sink_waits, self.board.observe)
        self.errors = ErrorCounter(domain, errors)
        self._clamped = self._wanted = 0

    def send(self, page: WrittenPage) -> None:
        """A page, its beats being words, that becomes what golden says, unless it is left out."""
        self.formats.send(page.record)
        elements = np.array([beat["elements"] for beat in page.beats], np.uint16)
        for beat, data in zip(page.beats, words_of(elements.view(np.uint8).ravel(), WIDTH), strict=True):
            self.copies.send({"data": data, "last": beat["last"]})
        if page.kept is not None:
            self._clamped += (elements.reshape(-1, LANES) & 0x7C00 == 0x7C00).any(1).sum()
            copy = np.ascontiguousarray(page.kept, "<f2").view(np.uint8).ravel()
            closed, top = window.close(copy, page.layout, page.before)
            *others, last = words_of(closed, WIDTH)
            self.board.expect_all({"data": data, "last": False, "top": 0} for data in others)
            self.board.expect({"data": last, "last": True, "top": top})
            self._wanted += len(others) + 1

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected word, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self._wanted)
        await self.copies.drained()
        await self.domain.cycles(30 + WIDTH // 16)
        self.board.finish()
        self.errors.expect(counts | {"clamped": int(self._clamped)}, spacing)


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
        kind = random.choice(tuple(KINDS))
        bench.send(sent_elements(layout, random_elements(layout, kind), WORDS.kv.lanes))
    await bench.finish()
    coverage.hit(stalls=stalls)


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def faults(dut: Any, spacing: str) -> None:
    """Bad copies are counted and left out, the ones between them intact pages."""
    bench = await start(dut)
    pages = list(written_pages_of_every_fault(WORDS, 5 * (spacing == "apart")))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.copies), acts, spacing)
    counts = {name: sum(page.counts.get(name, 0) for page in pages) for name in errors.names}
    await bench.finish(spacing, **counts)


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Page after page takes the quantiser's cycles, and a copy is taken without a gap."""
    bench = await start(dut)
    ends: list[int] = []
    taken: list[int] = []

    def note(bits: int) -> None:
        if bench.sink.codec.unpack(bits)["last"]:
            ends.append(bench.domain.cycle)

    StreamMonitor(bench.domain, "words", written_word(WIDTH), note)
    StreamMonitor(bench.domain, "copies", observer=lambda _: taken.append(bench.domain.cycle))
    layouts = [random_layout(config, *form, short=True) for form in (FORMATS[-1], *FORMATS)]
    for layout in layouts:
        bench.send(sent_elements(layout, random_elements(layout, "normal"), WORDS.kv.lanes))
    await bench.finish()
    wanted = [page_cycles(config, layout.format, layout.groups, layout.elements) for layout in layouts[1:]]
    assert np.diff(ends).tolist() == wanted, layouts
    words = layouts[0].elements * 16 // WIDTH
    assert (np.diff(taken[1:words]) == WORDS.kv.lanes // LANES).all()
    for rule, bits in FORMATS:
        coverage_rate.hit(format=f"{rule}{bits}")


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a copy leaves nothing behind."""
    bench = await start(dut)
    layout = random_layout(config)
    page = sent_elements(layout, random_elements(layout, "normal"), WORDS.kv.lanes)
    bench.send(page._replace(beats=page.beats[:-3], kept=None))
    await bench.copies.drained()
    await bench.domain.reset()
    layout = random_layout(config)
    bench.send(sent_elements(layout, random_elements(layout, "normal"), WORDS.kv.lanes))
    await bench.finish()
