"""KV packers: the words of golden pages, whatever the stalls and the codings of the pages before.

One bench for both: the wide packer takes W codes a beat, the lane packer a few.
"""

import itertools
import random
from typing import Any

import cocotb

from hw.config import Config
from hw.kv.payloads import code_beat, coded_word
from sim import context
from sim.benches.kv.coded_pages import NAMES, SHORTEST, CodecBench, CodedPage, some_names
from sim.coverage import Coverage
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, reset

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.kv.word_bits
LANES = context.parameters()["lanes"]
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]
LIMIT = 4_000_000

_block = "kv_packer" if LANES == WIDTH else "kv_lane_packer"
coverage_stalls = Coverage(f"{_block}_stalls", {"situation": SITUATIONS, "coding": NAMES})
coverage_switches = Coverage(f"{_block}_switches", {"before": NAMES, "after": NAMES})
coverage_rate = Coverage(f"{_block}_rate", {"coding": (*NAMES, "mixed")})


def bench_of(domain: Domain, stalls: str) -> CodecBench:
    """Codes in, words out."""
    codes = ("beats", code_beat(LANES), lambda page: page.code_beats(LANES))
    return CodecBench(domain, stalls, WIDTH, codes, ("words", coded_word(WIDTH), CodedPage.word_beats))


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def pages(dut: Any, stalls: str) -> None:
    """Pages of all codings back to back."""
    bench = bench_of(await reset(dut, LIMIT), stalls)
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
    """Without stalls n words of W codes a beat come in n cycles, n beats of fewer codes go in n cycles."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
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
    coverage_rate.hit(coding=name)
    dut._log.info(f"{name}: {moved} {'words' if LANES == WIDTH else 'beats'} in {cycles} cycles")


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def wrong_pages(dut: Any, spacing: str) -> None:
    """After pages of any length, of a reserved coding or with codes out of range the next one is intact."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
    acts = []
    for beats, coding in itertools.product(range(1, 10), range(8)):
        wrong = [
            {
                "codes": [random.randrange(256) for _ in range(LANES)],
                "coding": coding,
                "last": number == beats - 1,
            }
            for number in range(beats)
        ]
        acts.append(lambda wrong=wrong: bench.send_wrong(wrong))
        if (beats + coding) % 3:  # or another wrong one follows
            acts.append(lambda: bench.send(bench.page(random.choice(NAMES), 1)))
    acts.append(lambda: bench.send(bench.page(random.choice(NAMES), 1)))
    await send_spaced(bench.domain, (bench.source,), acts, spacing)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(name=NAMES)
async def reset_forgets(dut: Any, name: str) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = bench_of(await reset(dut, LIMIT), "free_running")
    total = 2 * SHORTEST // LANES
    for beats in range(1, total, max(1, total // 16)):
        bench.compares = False
        bench.source.send_all(bench.page(name, 2).code_beats(LANES)[:beats])
        await bench.domain.cycles(beats + 3)
        await bench.domain.reset()
        assert bench.domain.reader("words_valid")() == 0
        bench.compares = True
        bench.send(bench.page(random.choice(NAMES), 1))
        await bench.finish()
