"""Page reader: metadata and codes of every page, a word a cycle; bad pages counted, the next one intact."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import page_beat, page_format, word
from sim import context
from sim.benches.kv.pages import FORMATS, form_fields, parts_of, random_elements, random_layout, words_of
from sim.coverage import Coverage
from sim.pulses import PulseCounter
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
WIDTH = config.kv.word_bits
ERRORS = ("error_format", "error_short", "error_long", "error_trits")

coverage = Coverage(
    "kv_page_reader",
    {"format": tuple(f"{rule}{bits}" for rule, bits in FORMATS), "situation": SITUATIONS},
)


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
        self.errors = PulseCounter(domain, ERRORS)
        self.wanted = dict.fromkeys(shapes, 0)

    def send(self, layout: PageLayout, sent: list[int], kept: np.ndarray, error: bool = False) -> None:
        """Words ``sent`` as a page, of which the reader is to make the bytes ``kept``."""
        form = form_fields(layout)
        self.formats.send(form)
        last = len(sent) - 1
        self.words.send_all({"data": data, "last": number == last} for number, data in enumerate(sent))
        metadata, codes = parts_of(layout, kept, WIDTH)
        beats = [
            {
                "beat": {"codes": row, "coding": form["coding"], "last": number == len(codes) - 1},
                "error": error and number == len(codes) - 1,
            }
            for number, row in enumerate(codes)
        ]
        numbers = [
            {"data": data, "last": number == len(metadata) - 1} for number, data in enumerate(metadata)
        ]
        for name, expected in (("headers", [form]), ("numbers", numbers), ("beats", beats)):
            self.boards[name].expect_all(expected)
            self.wanted[name] += len(expected)

    def send_intact(self, layout: PageLayout) -> int:
        """A page of random elements; the number of its words."""
        page = layout.pack(layout.format.quantize(random_elements(layout, "normal")))
        words = words_of(page, WIDTH)
        self.send(layout, words, page)
        return len(words)

    async def finish(self, **errors: int) -> None:
        """Wait for everything expected, see that nothing else comes, and compare the errors."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.words.drained()
        await self.domain.cycles(10)
        for board in self.boards.values():
            board.finish()
        self.errors.expect(errors)


async def start(dut: Any, stalls: str = "free_running", checked: bool = True) -> Bench:
    """The bench after a reset; beats that are not ``checked`` wait to be received."""
    domain = await reset(dut, cycle_limit=1_000_000)
    return Bench(domain, stalls, checked)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_format(dut: Any, stalls: str) -> None:
    """All formats, page after page, whatever the stalls."""
    bench = await start(dut, stalls)
    for number in range(max(COUNT, len(FORMATS))):
        rule, bits = FORMATS[number % len(FORMATS)]
        bench.send_intact(random_layout(config, rule, bits))
        coverage.hit(format=f"{rule}{bits}", situation=stalls)
    await bench.finish()


@cocotb.test()
async def a_word_a_cycle(dut: Any) -> None:
    """Without stalls n words take n cycles, through changes of the format from page to page."""
    bench = await start(dut)
    taken: list[int] = []
    StreamMonitor(bench.domain, "words", word(WIDTH), observer=lambda _: taken.append(bench.domain.cycle))
    words = 0
    for number in range(COUNT):
        words += bench.send_intact(random_layout(config, *FORMATS[number % len(FORMATS)]))
    while words < context.parameters()["words"]:
        words += bench.send_intact(random_layout(config))
    await bench.finish()
    assert len(taken) == words
    assert taken[-1] - taken[0] == words - 1, (taken[-1] - taken[0], words)
    dut._log.info("%d words in %d cycles", words, taken[-1] - taken[0] + 1)


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def bad_pages(dut: Any, stalls: str) -> None:
    """Short, long and impossible pages, and bytes that are no trits; every page between is intact."""
    bench = await start(dut, stalls)
    size = WIDTH // 8
    counts = dict.fromkeys(ERRORS, 0)
    for number in range(COUNT):
        rule, bits = FORMATS[number % len(FORMATS)]
        layout = random_layout(config, rule, bits)
        page = layout.pack(layout.format.quantize(random_elements(layout, "normal")))
        words = words_of(page, WIDTH)
        fault = random.choice(ERRORS[:3])
        counts[fault] += 1
        if fault == "error_short":
            kept = random.choice((1, len(words) - 1, random.randint(1, len(words) - 1)))
            rest = np.concatenate([page[: kept * size], np.zeros(max(len(page) - kept * size, 0), np.uint8)])
            bench.send(layout, words[:kept], rest[: len(page)], error=True)
        elif fault == "error_long":
            more = [random.getrandbits(WIDTH) for _ in range(random.choice((1, 1, 7)))]
            bench.send(layout, words + more, page, error=True)
        else:
            bench.formats.send(form_fields(layout) | {"coding": random.choice((6, 7))})
            some = random.randint(1, len(words))
            bench.words.send_all({"data": words[n], "last": n == some - 1} for n in range(some))
        bench.send_intact(random_layout(config))
    await bench.finish(**counts)


@cocotb.test()
async def illegal_trits(dut: Any) -> None:
    """A byte that stands for no trits marks its page; the next one is intact."""
    bench = await start(dut, checked=False)
    for bad in (True, False):
        layout = random_layout(config, "ternary_mean")
        page = layout.pack(layout.format.quantize(random_elements(layout, "normal")))
        words = words_of(page, WIDTH)
        words[layout.metadata_bytes * 8 // WIDTH] |= 0xFF * bad
        bench.send(layout, words, page, error=bad)
        beats = await bench.sinks["beats"].receive(layout.elements // WIDTH)
        assert [beat["error"] for beat in beats] == [0] * (len(beats) - 1) + [int(bad)]
        codes = [beat["beat"]["codes"] for beat in beats]
        assert max(map(max, codes)) <= 2
        assert (codes != parts_of(layout, page, WIDTH)[1]) == bad
    bench.errors.expect({"error_trits": 1})


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = await start(dut, "sink_slow", checked=False)
    layout = random_layout(config)
    page = layout.pack(layout.format.quantize(random_elements(layout, "normal")))
    bench.send(layout, words_of(page, WIDTH), page)
    await bench.domain.cycles(8)
    await bench.domain.reset()
    for name in bench.sinks:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
    await bench.domain.cycles(8)
    for name in bench.sinks:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
