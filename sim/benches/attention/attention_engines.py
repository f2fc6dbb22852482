"""Several engines that share the pages of a list: outputs equal golden's merge, whatever the stalls.

Parameters: those of ``sim.benches.attention.attention_tile``.
"""

import random
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from golden.attention import engine, page
from golden.attention.scores import fold
from hw.attention.payloads import quotient
from sim.benches.attention.attention_tile import (
    CONFIG,
    INPUTS,
    LISTS,
    Attention,
    array_order,
    random_attention,
)
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

ENGINES = CONFIG.kv.engines

coverage = Coverage("attention_engines", {"pages": ("equal", "unequal")})


class Bench:
    """The attention tile with the streams of all its engines."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            (name, number): StreamSource(domain, f"{name}_{number}", shape, where.source)
            for name, shape in INPUTS.items()
            for number in range(ENGINES)
        }
        self.board = Scoreboard("outputs", quotient)
        self.sink = StreamSink(domain, "outputs", quotient, where.sink, where.sink_waits, self.board.observe)
        self.wanted = 0

    def send(self, attention: Attention) -> None:
        """A list, every engine's share of its pages, and what must come of it."""
        queries, (key_top, value_top) = fold(attention.queries), attention.tops
        shares = [attention.pairs[number::ENGINES] for number in range(ENGINES)]
        coverage.hit(pages="equal" if len(shares[0]) == len(shares[-1]) else "unequal")
        states = []
        for number, pairs in enumerate(shares):
            own = replace(attention, pairs=pairs)
            self.sources["queries", number].send_all(own.query_beats())
            for place, side in array_order(range(len(pairs)), 1):
                record = own.records(place, side) | {"top": attention.tops[side]}
                self.sources["pages", number].send(record)
                words = pairs[place].words(side)
                self.sources["words", number].send_all(
                    {"data": data, "last": at == len(words) - 1} for at, data in enumerate(words)
                )
            state = engine.start(*attention.queries.shape, value_top)
            for pair in pairs:
                keys, values = (
                    page.read(layout.format, quantized)
                    for layout, quantized in zip(pair.layouts, pair.quantized, strict=True)
                )
                state, _ = engine.step(
                    state, queries, keys, values, CONFIG.numerics, key_top, pair.first, attention.last(pair)
                )
            states.append(state)
        outputs = engine.finish(engine.merge(states), queries)
        for number, own in enumerate(outputs.values.view(np.uint16).tolist()):
            empty = bool(outputs.empty[number])
            for channel, half in enumerate(own):
                last = channel == len(own) - 1
                self.board.expect({"half": half, "empty": empty, "error": False, "last": last})
        self.wanted += attention.queries.size

    async def finish(self) -> None:
        """Wait for every output and see that no other comes."""
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(50)
        self.board.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def shared_pages(dut: Any, stalls: str) -> None:
    """Lists of at least a page for each engine."""
    bench = Bench(await reset(dut, cycle_limit=200_000), stalls)
    for _ in range(LISTS):
        count = random.randint(1, CONFIG.kv.queries)
        attention = random_attention(count, random.randint(ENGINES, 4 * ENGINES))
        bench.send(replace(attention, scores=False))
    await bench.finish()
