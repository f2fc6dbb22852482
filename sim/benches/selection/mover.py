"""Mover: pages, page tables, waiting tokens and their entries, equal to golden after every move."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.pages import PageLayout
from golden.selection.classes import Classes
from hw.config import Config
from hw.kv.quantiser import page_cycles
from sim import context
from sim.benches.kv.bad_pages import bad_page, impossible_forms
from sim.benches.kv.pages import form_fields, words_of
from sim.benches.selection.class_memory import ClassMemory, random_pools
from sim.benches.selection.moves import Move, MoveBench
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS
from sim.streams import SITUATIONS, reset

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["moves"]
TOKENS = config.kv.page_tokens
PAGES = 24

SHARES = ("none", "one", "some", "most", "all")
TARGETS = ("later", "own", "dropped")
OVERHEAD = {"later": 60, "dropped": 16}
"""Cycles beside those that are accounted for, of a page."""
coverage = Coverage("mover", {"target": TARGETS, "share": SHARES})
coverage_stalls = Coverage("mover_stalls", {"situation": SITUATIONS})
coverage_rate = Coverage("mover_rate", {"target": ("later", "dropped"), "pace": (0, 3)})
errors = ErrorPlan("mover")


async def start(dut: Any, stalls: str = "free_running") -> MoveBench:
    domain = await reset(dut, cycle_limit=600_000)
    return MoveBench(domain, config, stalls)


def new_memory(tokens: int, channels: int | None = None) -> ClassMemory:
    """A head with so many tokens, most of them in its first class."""
    pools = random_pools(config, PAGES, channels=channels)
    memory = ClassMemory(Classes(pools), pools, config.memory_bits)
    append(memory, tokens, 0.8)
    return memory


def append(memory: ClassMemory, tokens: int, share: float = 1.0) -> None:
    """More tokens, a share of them in the first class."""
    rng = np.random.default_rng(random.getrandbits(32))
    scale = 2.0 ** rng.integers(-6, 6)
    sides = (rng.standard_normal((2, tokens, memory.golden.channels)) * scale).astype(np.float16)
    memory.append(*sides, (rng.random(tokens) >= share).astype(int))


def chosen_of(share: str, count: int) -> np.ndarray:
    """Which of so many tokens leave."""
    rng = np.random.default_rng(random.getrandbits(32))
    if share == "one":
        return np.arange(count) == rng.integers(max(count, 1))
    return rng.random(count) < {"none": 0, "some": 0.3, "most": 0.9, "all": 1}[share]


def random_move(memory: ClassMemory, target: str, share: str) -> Move:
    """A move of a class, of which there are pages then if it is one within it."""
    waits = target != "own"
    if target == "own" and not memory.golden.table(0):
        append(memory, TOKENS)
    sources = [number for number in (0, 1) if waits or memory.golden.table(number)]
    source = 0 if target == "later" else random.choice(sources)
    chosen = chosen_of(share, len(memory.live_entries(source, waits)))
    return Move(source, {"later": 1, "own": source, "dropped": 2}[target], chosen, random.choice((0, 0, 1)))


async def play(bench: MoveBench, count: int) -> None:
    """Moves of all kinds, with new tokens between them."""
    memory = new_memory(random.randint(TOKENS + 1, 3 * TOKENS))
    bench.use(memory)
    for target, share in random.sample(list(itertools.product(TARGETS, SHARES)), count):
        bench.send(random_move(memory, target, share))
        await bench.finish()
        coverage.hit(target=target, share=share)
        if random.random() < 0.5:
            append(memory, random.randint(1, TOKENS), random.random())


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_move(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    await play(bench, COUNT)
    coverage_stalls.hit(situation=stalls)


@cocotb.test()
async def every_move(dut: Any) -> None:
    """Each target with each share of the tokens, of one head."""
    bench = await start(dut)
    await play(bench, len(TARGETS) * len(SHARES))


@cocotb.test()
async def nothing_is_there(dut: Any) -> None:
    """A table with nothing but the row that waits, and no token in it."""
    bench = await start(dut)
    memory = new_memory(0)
    bench.use(memory)
    bench.send(Move(0, 1, np.zeros(0, bool)))
    await bench.finish()
    append(memory, 3)
    bench.send(Move(0, 1, np.ones(3, bool)))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_things(dut: Any, spacing: str) -> None:
    """Formats that do not fit move nothing; of a page that was too short what is missing are zeros."""
    bench = await start(dut)
    counter = ErrorCounter(bench.domain, errors)
    memory = new_memory(5 * TOKENS // 2)
    bench.use(memory)
    own = [form_fields(layout) for layout in memory.classes[0].layouts]
    bad = [[form, own[1]] for form in impossible_forms(config, own[0])]
    bad += [own[::-1], [own[0], own[1] | {"channels": own[1]["channels"] ^ 1}]]
    count = len(memory.live_entries(0, True))
    for forms in bad:
        if spacing == "apart":
            await bench.domain.cycles(random.randint(1, 40))
        bench.send(Move(0, 1, np.ones(count, bool)), {random.choice(("own", "target")): forms}, refused=True)
        await bench.finish()
    # pages of a class, all of them or one of them damaged
    table = memory.golden.table(0)
    damaged = table if spacing == "together" else table[:1]
    for page in damaged:
        pool = memory._pools[0]
        for side, layout in enumerate(pool.layouts):
            found = bad_page(config, layout, "error_short", side)
            place = [0, pool.layouts[0].bytes][side]
            pool.memory[page.number, place : place + layout.bytes] = found.kept
            bench.damage[page.number, side] = found.words
            memory.classes[0].pages[page.number][side] = found.kept
            assert len(found.words) < len(words_of(found.kept, config.memory_bits))
    bench.send(Move(0, 1, np.ones(count, bool)))
    await bench.finish()
    counts = {"error_request": len(bad), "error_page": 2 * len(damaged)}
    counter.expect(counts, spacing)


def cycles_of_page(own: tuple[PageLayout, ...], target: tuple[PageLayout, ...]) -> int:
    """Cycles in which a page is read, and those in which one is written, without the few in between."""
    width = config.memory_bits
    found = 0
    for layout, new in zip(own, target, strict=True):
        codes = layout.format.coding.length(layout.elements) * 8 // width
        metadata = layout.metadata_bytes * 8 // width
        found += layout.elements // config.kv.lanes + metadata + codes - layout.elements // width
        found += page_cycles(config, new.format, new.groups, new.elements)
        found += new.elements // config.kv.lanes
    return found


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """A page takes what reading and writing it takes, and a few cycles; a row that is dropped few beside its
    places. After each word that is read the pace is kept.
    """
    bench = await start(dut)
    for target, pace in (("later", 0), ("later", 3), ("dropped", 0), ("dropped", 3)):
        memory = new_memory(0, config.kv.channels)
        append(memory, TOKENS)
        bench.use(memory)
        began = bench.domain.cycle
        bench.send(Move(0, {"later": 1, "dropped": 2}[target], np.ones(TOKENS, bool), pace))
        await bench.results.wait_for(bench.wanted)
        taken = bench.domain.cycle - began
        await bench.finish()
        layouts = [own.layouts for own in memory.classes]
        least = 2 * TOKENS + (cycles_of_page(*layouts) if target == "later" else 0)
        dut._log.info(f"{target}, pace {pace}: {taken / TOKENS:.1f} cycles a token {taken - least}")
        gaps = np.diff(bench.read_at)
        assert (gaps > pace).all()
        bench.read_at.clear()
        if not pace:
            assert 0 <= taken - least <= OVERHEAD[target]
        coverage_rate.hit(target=target, pace=pace)
