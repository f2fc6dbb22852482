"""Page reader: metadata and codes of every page, a word a cycle; bad pages counted, the next one intact."""

from typing import Any

import cocotb

from hw.config import Config
from hw.kv.payloads import CODE_BITS, Coding, page_beat, page_format, word
from sim import context
from sim.benches.kv.bad_pages import SentPage, bad_page, intact_page, pages_of_every_fault
from sim.benches.kv.decoded_pages import streams_of
from sim.benches.kv.pages import FORMATS, random_layout
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
WIDTH = config.memory_bits

errors = ErrorPlan("kv_page_reader")
coverage = Coverage(
    "kv_page_reader",
    {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS), "situation": SITUATIONS},
)
coverage_rate = Coverage("kv_page_reader_rate", {"over": ("pages", "pages left out", "words left out")})


class Bench:
    """The reader with its streams and counters of its errors."""

    def __init__(self, domain: Domain, stalls: str, checked: bool) -> None:
        where = situation(stalls)
        self.domain = domain
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.words = StreamSource(domain, "words", word(WIDTH), where.source)
        shapes = {"headers": page_format(config), "numbers": word(WIDTH), "beats": page_beat(config)}
        self.boards = {name: Scoreboard(name, shape) for name, shape in shapes.items()}
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                where.sink,
                where.sink_waits,
                self.boards[name].observe if checked else None,
            )
            for name, shape in shapes.items()
        }
        self.errors = ErrorCounter(domain, errors)
        self.wanted = dict.fromkeys(shapes, 0)

    def send(self, page: SentPage) -> int:
        """A page, and what the reader is to make of it; the number of its words."""
        self.formats.send(page.form)
        self.words.send_all(page.word_beats())
        if page.kept is not None:
            numbers, beats = streams_of(page.layout, page.kept, WIDTH, page.fault is not None)
            self.boards["headers"].expect(page.form)
            self.boards["numbers"].expect_all(numbers)
            for beat, codes in zip(beats, page.unknown_bits(WIDTH, CODE_BITS), strict=True):
                unknown = {"beat": {"codes": codes, "coding": 0, "last": 0}, "error": 0}
                self.boards["beats"].expect(beat, unknown if any(codes) else 0)
            for name, count in (("headers", 1), ("numbers", len(numbers)), ("beats", len(beats))):
                self.wanted[name] += count
        return len(page.words)

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for everything expected, see that nothing else comes, and compare the errors."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.words.drained()
        await self.domain.cycles(10)
        for board in self.boards.values():
            board.finish()
        self.errors.expect(counts, spacing)


async def start(dut: Any, stalls: str = "free_running", checked: bool = True) -> Bench:
    """The bench after a reset; beats that are not ``checked`` wait to be received."""
    domain = await reset(dut, cycle_limit=1_000_000)
    return Bench(domain, stalls, checked)


def intact(rule: str | None = None, bits: int | None = None) -> SentPage:
    """A page of random elements."""
    return intact_page(random_layout(config, rule, bits), WIDTH)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_format(dut: Any, stalls: str) -> None:
    """All formats, page after page, whatever the stalls."""
    bench = await start(dut, stalls)
    for number in range(max(COUNT, len(FORMATS))):
        rule, bits = FORMATS[number % len(FORMATS)]
        bench.send(intact(rule, bits))
        coverage.hit(format=f"{rule}{bits}", situation=stalls)
    await bench.finish()


@cocotb.test()
async def a_word_a_cycle(dut: Any) -> None:
    """Without stalls n words take n cycles, from page to page, also past those and that which is left out."""
    bench = await start(dut)
    taken: list[int] = []
    StreamMonitor(bench.domain, "words", word(WIDTH), observer=lambda _: taken.append(bench.domain.cycle))
    words, variants = 0, 7
    for number in range(max(COUNT, len(FORMATS))):
        words += bench.send(intact(*FORMATS[number % len(FORMATS)]))
        if number < variants:
            words += bench.send(bad_page(config, random_layout(config), "error_format", number))
            words += bench.send(bad_page(config, random_layout(config), "error_long", number))
    while words < context.parameters()["words"]:
        words += bench.send(intact())
    await bench.finish(error_format=variants, error_long=variants)
    assert len(taken) == words
    assert taken[-1] - taken[0] == words - 1, (taken[-1] - taken[0], words)
    for over in ("pages", "pages left out", "words left out"):
        coverage_rate.hit(over=over)
    dut._log.info("%d words in %d cycles", words, taken[-1] - taken[0] + 1)


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"), spacing=SPACINGS)
async def bad_pages(dut: Any, stalls: str, spacing: str) -> None:
    """Short, long and impossible pages, and bytes that are no trits, in every order among intact ones."""
    bench = await start(dut, stalls)
    variant = 5 * (spacing == "apart")
    pages = list(pages_of_every_fault(config, lambda rule: random_layout(config, rule, short=True), variant))
    acts = [lambda page=page: bench.send(page) for page in pages]
    await send_spaced(bench.domain, (bench.formats, bench.words), acts, spacing)
    counts = {name: sum(page.fault == name for page in pages) for name in errors.names}
    await bench.finish(spacing, **counts)


@cocotb.test()
async def illegal_trits(dut: Any) -> None:
    """A byte that stands for no trits gives some codes of trits all the same."""
    bench = await start(dut, checked=False)
    for variant in range(13):
        page = bad_page(config, random_layout(config, "ternary_scaled"), "error_trits", variant)
        bench.send(page)
        beats = await bench.sinks["beats"].receive(page.layout.elements // WIDTH)
        assert [beat["error"] for beat in beats] == [0] * (len(beats) - 1) + [1]
        codes = [beat["beat"]["codes"] for beat in beats]
        assert max(map(max, codes)) <= 2
        assert all(beat["beat"]["coding"] == Coding.TRITS for beat in beats)
    bench.errors.expect({"error_trits": 13})


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = await start(dut, "sink_slow", checked=False)
    bench.send(intact())
    await bench.domain.cycles(8)
    await bench.domain.reset()
    for name in bench.sinks:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
    await bench.domain.cycles(8)
    for name in bench.sinks:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
