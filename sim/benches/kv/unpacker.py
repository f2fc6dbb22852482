"""KV unpacker: the codes of golden pages, whatever the stalls and the codings of the pages before."""

import random
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np

from golden.numbers.trits import TRITS, is_legal
from hw.config import Config
from hw.kv.payloads import Coding, code_beat, coded_word
from sim import context
from sim.benches.kv import codec_stories as stories
from sim.benches.kv.coded_pages import NAMES, CodecBench, CodedPage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, reset

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.memory_bits
PAGES = context.parameters()["pages"]
FLOWING_WORDS = context.parameters()["flowing_words"]

plans = stories.CodecPlans("kv_unpacker")
errors = ErrorPlan("kv_unpacker")


def bench_of(domain: Domain, stalls: str) -> CodecBench:
    """Words in, codes out."""
    codes = ("beats", code_beat(WIDTH), lambda page: page.code_beats(WIDTH))
    return CodecBench(domain, stalls, WIDTH, ("words", coded_word(WIDTH), CodedPage.word_beats), codes)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def pages(dut: Any, stalls: str) -> None:
    """Pages of all codings back to back."""
    await stories.every_coding(bench_of(await reset(dut, 200_000), stalls), plans, stalls, PAGES)


@cocotb.test()
@cocotb.parametrize(name=stories.FLOWS)
async def full_throughput(dut: Any, name: str) -> None:
    """Without stalls n words are taken in n cycles, within pages and between them."""
    bench = bench_of(await reset(dut, 200_000), "free_running")
    await stories.flow(bench, plans, name, FLOWING_WORDS, lambda page: len(page.words), bench.departures)


def page_with(bench: CodecBench, byte: int) -> Callable[[], None]:
    """Sends a page of trits with an illegal byte somewhere, whose codes alone may be any trits."""
    page = bench.page("trits", 1)
    place = random.randrange(-(-bench.shortest // TRITS))
    word_beats, (number, position) = page.word_beats(), divmod(place, WIDTH // 8)
    data = word_beats[number]["data"]
    word_beats[number]["data"] = data & ~(255 << 8 * position) | byte << 8 * position
    unknown = np.where(np.arange(bench.shortest) // TRITS == place, 255, 0).reshape(-1, WIDTH).tolist()
    masks = [{"codes": codes, "coding": 0, "last": 0} for codes in unknown]
    return lambda: bench.send_wrong(word_beats, list(zip(page.code_beats(WIDTH), masks, strict=True)))


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def illegal_bytes(dut: Any, spacing: str) -> None:
    """An illegal byte is reported for a cycle, gives codes of 0..2, and harms nothing else."""
    domain = await reset(dut)
    bench, counter = bench_of(domain, "free_running"), ErrorCounter(domain, errors)

    def check(bits: int) -> None:
        beat = bench.sink.codec.unpack(bits)
        assert beat["coding"] != Coding.TRITS or max(beat["codes"]) <= 2

    StreamMonitor(domain, "beats", code_beat(WIDTH), check)
    illegal = [byte for byte in range(256) if not is_legal(byte)]
    acts = []
    for number, byte in enumerate(illegal):
        acts.append(page_with(bench, byte))
        if number % 2:
            acts.append(lambda: bench.send(bench.page(random.choice(NAMES), 1)))
    acts.append(lambda: bench.send(bench.page("bits8", 1)))
    await send_spaced(domain, (bench.source,), acts, spacing)
    await bench.finish()
    counter.expect({"error": len(illegal)}, spacing)


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def wrong_lengths(dut: Any, spacing: str) -> None:
    """After pages that are cut short, too long or of a reserved coding the next one is intact."""
    bench = bench_of(await reset(dut), "free_running")
    await stories.recover(bench, lambda: {"data": random.getrandbits(WIDTH)}, spacing)


@cocotb.test()
@cocotb.parametrize(name=NAMES)
async def reset_forgets(dut: Any, name: str) -> None:
    """A reset in the middle of a page leaves nothing behind."""
    bench = bench_of(await reset(dut), "free_running")
    lengths = range(1, len(bench.page(name, 2).words))
    await stories.forget(bench, name, lengths, lambda _: bench.source.drained())
