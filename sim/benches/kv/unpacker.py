"""KV unpacker: the codes of golden pages, whatever the stalls and the codings of the pages before."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.trits import is_legal
from hw.config import Config
from hw.kv.payloads import code_beat, coded_word
from sim import context
from sim.coded_pages import NAMES, CodedPage, random_page
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.kv.word_bits
SHORTEST = 256
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]

coverage_stalls = Coverage("kv_unpacker_stalls", {"situation": SITUATIONS, "coding": NAMES})
coverage_switches = Coverage("kv_unpacker_switches", {"before": NAMES, "after": NAMES})


class Bench:
    """Words in, codes out and compared, cycles noted."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        self.domain = domain
        self.compares = True
        self.departures: list[int] = []
        self.board = Scoreboard("beats", code_beat(WIDTH))
        pattern = situation(stalls)
        self.source = StreamSource(
            domain, "words", coded_word(WIDTH), pattern.source, lambda _: self.departures.append(domain.cycle)
        )
        self.sink = StreamSink(
            domain, "beats", code_beat(WIDTH), pattern.sink, pattern.sink_waits, observer=self.observe
        )
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.expected = 0

    def observe(self, bits: int) -> None:
        if self.compares:
            self.board.observe(bits)

    def page(self, name: str, groups: int) -> CodedPage:
        return random_page(self.rng, name, groups * SHORTEST, WIDTH)

    def send(self, page: CodedPage) -> None:
        beats = page.code_beats(WIDTH)
        self.source.send_all(page.word_beats())
        self.board.expect_all(beats)
        self.expected += len(beats)

    async def finish(self) -> None:
        await self.sink.wait_for(self.expected)
        await self.domain.cycles(4)  # a beat too many shows here
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
    bench = Bench(await reset(dut, 200_000), stalls)
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
    """Without stalls n words are taken in n cycles, within pages and between them."""
    bench = Bench(await reset(dut, 200_000), "free_running")
    words = 0
    while words < FLOWING_WORDS:
        page = bench.page(random.choice(NAMES) if name == "mixed" else name, random.choice((1, 2, 8)))
        bench.send(page)
        words += len(page.words)
    await bench.finish()
    cycles = bench.departures[-1] - bench.departures[0] + 1
    assert len(bench.departures) == words
    assert cycles == words, f"{cycles} cycles for {words} words"
    dut._log.info(f"{name}: {words} words in {cycles} cycles")


@cocotb.test()
async def illegal_bytes(dut: Any) -> None:
    """An illegal byte is reported for a cycle, gives codes of 0..2, and harms nothing else."""
    domain = await reset(dut)
    source = StreamSource(domain, "words", coded_word(WIDTH))
    sink = StreamSink(domain, "beats", code_beat(WIDTH))
    rng = np.random.default_rng(random.getrandbits(32))
    errors: list[int] = []
    error = domain.reader("error")

    class Watch:
        def step(self) -> None:
            errors.append(error())

        def restart(self) -> None:
            pass

        def status(self) -> str:
            return ""

    domain.add(Watch())
    for byte in (byte for byte in range(256) if not is_legal(byte)):
        page = random_page(rng, "trits", SHORTEST, WIDTH)
        beats = page.word_beats()
        place = random.randrange(SHORTEST // 5)
        word, position = divmod(place, WIDTH // 8)
        mask = 255 << 8 * position
        beats[word]["data"] = beats[word]["data"] & ~mask | byte << 8 * position
        errors.clear()
        source.send_all(beats)
        got = await sink.receive(SHORTEST // WIDTH)
        await domain.cycles(2)
        assert sum(errors) == 1, byte
        codes = np.array([code for beat in got for code in beat["codes"]])
        assert codes.max() <= 2
        spared = np.arange(SHORTEST) // 5 != place
        assert np.array_equal(codes[spared], page.codes[spared])
    legal = random_page(rng, "bits8", SHORTEST, WIDTH)
    errors.clear()
    source.send_all(legal.word_beats())
    assert await sink.receive(SHORTEST // WIDTH) == legal.code_beats(WIDTH)
    assert not any(errors)


@cocotb.test()
async def wrong_lengths(dut: Any) -> None:
    """After a page that is cut short, too long or of a reserved coding the next one is intact."""
    bench = Bench(await reset(dut), "free_running")
    for coding in range(8):
        for words in range(1, 10):
            before = bench.sink.count
            bench.compares = False
            bench.source.send_all(
                {"data": random.getrandbits(WIDTH), "coding": coding, "last": number == words - 1}
                for number in range(words)
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
    bench = Bench(await reset(dut), "free_running")
    for words in range(1, len(bench.page(name, 2).words)):
        bench.compares = False
        bench.source.send_all(bench.page(name, 2).word_beats()[:words])
        await bench.source.drained()
        await bench.domain.reset()
        assert bench.domain.reader("beats_valid")() == 0
        bench.compares, bench.expected = True, bench.sink.count
        bench.send(bench.page(random.choice(NAMES), 1))
        await bench.finish()
