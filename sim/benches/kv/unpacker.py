"""KV unpacker: the codes of golden pages, whatever the stalls and the codings of the pages before."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.numbers.trits import is_legal
from hw.config import Config
from hw.kv.payloads import code_beat, coded_word
from sim import context
from sim.benches.kv.coded_pages import NAMES, SHORTEST, CodecBench, CodedPage, random_page, some_names
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.kv.word_bits
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]

coverage_stalls = Coverage("kv_unpacker_stalls", {"situation": SITUATIONS, "coding": NAMES})
coverage_switches = Coverage("kv_unpacker_switches", {"before": NAMES, "after": NAMES})


def bench_of(domain: Domain, stalls: str) -> CodecBench:
    """Words in, codes out."""
    codes = ("beats", code_beat(WIDTH), lambda page: page.code_beats(WIDTH))
    return CodecBench(domain, stalls, WIDTH, ("words", coded_word(WIDTH), CodedPage.word_beats), codes)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def pages(dut: Any, stalls: str) -> None:
    """Pages of all codings back to back."""
    bench = bench_of(await reset(dut, 200_000), stalls)
    names = some_names(SITUATIONS.index(stalls), PAGES)
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
    bench = bench_of(await reset(dut, 200_000), "free_running")
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
    bench = bench_of(await reset(dut), "free_running")
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
    bench = bench_of(await reset(dut), "free_running")
    for words in range(1, len(bench.page(name, 2).words)):
        bench.compares = False
        bench.source.send_all(bench.page(name, 2).word_beats()[:words])
        await bench.source.drained()
        await bench.domain.reset()
        assert bench.domain.reader("beats_valid")() == 0
        bench.compares, bench.expected = True, bench.sink.count
        bench.send(bench.page(random.choice(NAMES), 1))
        await bench.finish()
