"""KV packers: the words of golden pages, whatever the stalls and the codings of the pages before.

One bench for both: the wide packer takes W codes a beat, the lane packer a few.
"""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from hw.config import Config
from hw.kv.payloads import code_beat, coded_word
from sim import context
from sim.coded_pages import NAMES, CodedPage, random_page
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.kv.word_bits
LANES = context.parameters()["lanes"]
SHORTEST = 256
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]
LIMIT = 4_000_000

_block = "kv_packer" if LANES == WIDTH else "kv_lane_packer"
coverage_stalls = Coverage(f"{_block}_stalls", {"situation": SITUATIONS, "coding": NAMES})
coverage_switches = Coverage(f"{_block}_switches", {"before": NAMES, "after": NAMES})


class Bench:
    """Codes in, words out and compared, cycles noted."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        self.domain = domain
        self.compares = True
        self.arrivals: list[int] = []
        self.departures: list[int] = []
        self.board = Scoreboard("words", coded_word(WIDTH))
        pattern = situation(stalls)
        self.source = StreamSource(
            domain, "beats", code_beat(LANES), pattern.source, lambda _: self.departures.append(domain.cycle)
        )
        self.sink = StreamSink(
            domain, "words", coded_word(WIDTH), pattern.sink, pattern.sink_waits, observer=self.observe
        )
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.expected = 0

    def observe(self, bits: int) -> None:
        self.arrivals.append(self.domain.cycle)
        if self.compares:
            self.board.observe(bits)

    def page(self, name: str, groups: int) -> CodedPage:
        return random_page(self.rng, name, groups * SHORTEST, WIDTH)

    def send(self, page: CodedPage) -> None:
        self.source.send_all(page.code_beats(LANES))
        self.board.expect_all(page.word_beats())
        self.expected += len(page.words)

    async def finish(self) -> None:
        await self.sink.wait_for(self.expected)
        await self.domain.cycles(4)  # a word too many shows here
        self.board.finish()


def some_names(turn: int) -> list[str]:
    """Codings of the pages: pairs of neighbours that the seven turns together exhaust."""
    pairs = [(before, after) for before in NAMES for after in NAMES]
    start = turn * PAGES // 2 % len(pairs)
    return [name for pair in pairs[start:] + pairs[:start] for name in pair][:PAGES]


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def pages(dut: Any, stalls: str) -> None:
    """Pages of all codings back to back."""
    bench = Bench(await reset(dut, LIMIT), stalls)
    names = some_names(SITUATIONS.index(stalls))
    for name in names:
        bench.send(bench.page(name, random.choice((1, 1, 2, 3))))
        coverage_stalls.hit(situation=stalls, coding=name)
    await bench.finish()
    for before, after in itertools.pairwise(names):
        coverage_switches.hit(before=before, after=after)


@cocotb.test()
@cocotb.parametrize(name=(*NAMES, "mixed"))
async def full_throughput(dut: Any, name: str) -> None:
    """Without stalls n words of W codes a beat come in n cycles, n beats of fewer codes go in n cycles."""
    bench = Bench(await reset(dut, LIMIT), "free_running")
    moved = 0
    while moved < FLOWING_WORDS:
        page = bench.page(random.choice(NAMES) if name == "mixed" else name, random.choice((1, 2, 8)))
        bench.send(page)
        moved += len(page.words) if LANES == WIDTH else len(page.codes) // LANES
    await bench.finish()
    moves = bench.arrivals if LANES == WIDTH else bench.departures
    cycles = moves[-1] - moves[0] + 1
    assert len(moves) == moved
    assert cycles == moved, f"{cycles} cycles for {moved}"
    dut._log.info(f"{name}: {moved} {'words' if LANES == WIDTH else 'beats'} in {cycles} cycles")


@cocotb.test()
async def wrong_pages(dut: Any) -> None:
    """After a page of any length, of a reserved coding or with codes out of range the next one is intact."""
    bench = Bench(await reset(dut, LIMIT), "free_running")
    for coding in range(8):
        for beats in range(1, 10):
            before = bench.sink.count
            bench.compares = False
            bench.source.send_all(
                {
                    "codes": [random.randrange(256) for _ in range(LANES)],
                    "coding": coding,
                    "last": number == beats - 1,
                }
                for number in range(beats)
            )
            await bench.source.drained()
            await bench.domain.cycles(3)
            assert bench.sink.count > before
            bench.compares, bench.expected = True, bench.sink.count
            bench.send(bench.page(random.choice(NAMES), 1))
            await bench.finish()


@cocotb.test()
@cocotb.parametrize(name=NAMES)
async def reset_forgets(dut: Any, name: str) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = Bench(await reset(dut, LIMIT), "free_running")
    total = 2 * SHORTEST // LANES
    for beats in range(1, total, max(1, total // 16)):
        bench.compares = False
        bench.source.send_all(bench.page(name, 2).code_beats(LANES)[:beats])
        await bench.domain.cycles(beats + 3)
        await bench.domain.reset()
        assert bench.domain.reader("words_valid")() == 0
        bench.compares, bench.expected = True, bench.sink.count
        bench.send(bench.page(random.choice(NAMES), 1))
        await bench.finish()
