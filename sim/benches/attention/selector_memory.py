"""Selector memory: the selectors of every chunk of pages of BitMoD's types, turn after turn.

Parameters: ``config``, the fields of the configuration; ``pages``, how many of each type, side and axis.
"""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.kv import codings
from golden.kv.pages import SIDES, PageLayout
from hw.attention.payloads import chunk_selectors, selector_page, selector_word, turns
from hw.config import Config
from hw.kv.payloads import SELECTOR_BITS
from sim import context
from sim.benches.kv.bitmod_pages import attended_layout
from sim.benches.kv.pages import PLACES, form_fields, words_of
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
PAGES: int = context.parameters()["pages"]
ROWS, LANES = CONFIG.rows, CONFIG.lanes
WORD_CYCLES = 16
LATENCY = 2

coverage = Coverage("selector_memory", {"side": SIDES, "axis": ("token", "channel"), "stalls": SITUATIONS})


class Bench:
    """The memory with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where, shape = situation(stalls), chunk_selectors(CONFIG)
        self.domain = domain
        self.words = StreamSource(domain, "words", selector_word(CONFIG), where.source)
        self.board = Scoreboard("chunks", shape)
        self.sink = StreamSink(
            domain, "chunks", shape, where.sink, where.sink_waits, lambda bits: self.board.observe(bits)
        )
        self.wanted = 0

    def send(self, layout: PageLayout) -> int:
        """A page with any selectors; returns its words."""
        count = layout.groups
        flat = np.random.default_rng(random.getrandbits(32)).integers(0, 4, count).astype(np.uint8)
        words = words_of(codings.pack(flat, codings.of_width(SELECTOR_BITS)), CONFIG.memory_bits)
        last_turn = random.randrange(turns(CONFIG))
        fields = form_fields(layout) | {"last_turn": last_turn}
        page = {name: fields[name] for name in selector_page(CONFIG).members}
        for number, data in enumerate(words):
            self.words.send({"data": data, "last": number == len(words) - 1, "page": page})
        form = layout.format
        spread = form.spread(
            flat.reshape(form.groups(layout.tokens, layout.channels)), layout.tokens, layout.channels
        )
        chunks = spread.ravel()[layout.order].reshape(-1, ROWS * LANES)
        folded = (layout.side == "key") != (form.axis == "token")
        for _ in range(last_turn + 1):
            for chunk in chunks:
                own = chunk.reshape(ROWS, LANES) if layout.side == "key" else chunk.reshape(LANES, ROWS).T
                assert (own == (own[:1] if folded else own[:, :1])).all()
                value = {"rows": own[:, 0].tolist(), "lanes": own[0].tolist(), "by_lane": folded}
                unknown = {"rows": [3 * folded] * ROWS, "lanes": [3 * (not folded)] * LANES, "by_lane": 0}
                self.board.expect(value, unknown)
        self.wanted += (last_turn + 1) * len(chunks)
        return len(words)

    async def finish(self) -> None:
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(20)
        self.board.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_place(dut: Any, stalls: str) -> None:
    """All sides and axes, groups of every length, after each other in any order."""
    bench = Bench(await reset(dut, cycle_limit=200_000), stalls)
    for place in random.sample(PLACES * PAGES, len(PLACES) * PAGES):
        bench.send(attended_layout(CONFIG, "bitmod4", place))
        coverage.hit(side=place[0], axis=place[1], stalls=stalls)
    await bench.finish()


@cocotb.test()
async def pace(dut: Any) -> None:
    """A chunk a cycle from two cycles after the last word has been written, which took 16 cycles."""
    bench = Bench(await reset(dut), "free_running")
    layouts = [attended_layout(CONFIG, "bitmod4", place) for place in itertools.islice(PLACES, 4)]
    for layout in layouts:
        before, begin = bench.wanted, bench.sink.count
        words = bench.send(layout)
        await bench.words.drained()
        taken = bench.domain.cycle
        await bench.sink.wait_for(begin + 1)
        first = bench.domain.cycle
        await bench.sink.wait_for(bench.wanted)
        last = bench.domain.cycle
        assert last - first == bench.wanted - before - 1
        print(f"{words=} {first - taken=}")
        assert first - taken <= WORD_CYCLES + LATENCY + 1
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere nothing of the pages before is left."""
    bench = Bench(await reset(dut), "both_random")
    for _ in range(3):
        for place in PLACES:
            bench.send(attended_layout(CONFIG, "bitmod3", place))
        await bench.domain.cycles(random.randint(5, 200))
        await bench.domain.reset()
        bench.board = Scoreboard("chunks", chunk_selectors(CONFIG))
        bench.wanted = bench.sink.count
        bench.send(attended_layout(CONFIG, "bitmod3", random.choice(PLACES)))
        await bench.finish()
