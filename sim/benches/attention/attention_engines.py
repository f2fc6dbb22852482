"""Several engines that share the pages of a list: outputs equal golden's merge, whatever the stalls.

Parameters: those of ``sim.benches.attention.attention_tile``.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from golden.attention import engine
from golden.attention.scores import fold
from golden.kv.pages import SIDES
from hw.attention.payloads import quotient
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP
from sim.benches.attention.attention_faults import FAULTS, LOADED, PLACES, SentList, damaged_list
from sim.benches.attention.attention_tile import (
    CONFIG,
    ERRORS,
    INPUTS,
    LISTS,
    Attention,
    array_order,
    random_attention,
    random_pair,
)
from sim.benches.kv.pages import page_fields
from sim.coverage import Coverage
from sim.errors import ErrorCounter
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, send_spaced
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
        self.errors = ErrorCounter(domain, ERRORS)
        self.wanted = 0

    async def load(self) -> None:
        """The tables of every engine, if it has any."""
        for number in range(ENGINES if LOADED else 0):
            source = self.sources["tables", number]
            source.send_all(value for side in SIDES for value in LOADED[side])
        for number in range(ENGINES if LOADED else 0):
            await self.sources["tables", number].drained()

    def send(self, attention: Attention) -> None:
        """A list, every engine's share of its pages, and what must come of it."""
        queries, (key_top, value_top) = fold(attention.queries), attention.tops
        shares = [attention.pairs[number::ENGINES] for number in range(ENGINES)]
        coverage.hit(pages="equal" if len(shares[0]) == len(shares[-1]) else "unequal")
        states = []
        for number, pairs in enumerate(shares):
            self._send_share(number, replace(attention, pairs=pairs), attention.tops)
            state = engine.start(*attention.queries.shape, value_top)
            for pair in pairs:
                state, _ = engine.step(
                    state, queries, *pair.read(), CONFIG.numerics, key_top, pair.first, attention.last(pair)
                )
            states.append(state)
        outputs = engine.finish(engine.merge(states), queries)
        for number, own in enumerate(outputs.values.view(np.uint16).tolist()):
            empty = bool(outputs.empty[number])
            for channel, half in enumerate(own):
                last = channel == len(own) - 1
                self.board.expect({"half": half, "empty": empty, "error": False, "last": last})
        self.wanted += attention.queries.size

    def _send_share(self, number: int, own: Attention, tops: tuple[int, ...]) -> None:
        """An engine's queries and pages, of a list with these largest exponents."""
        self.sources["queries", number].send_all(own.query_beats())
        for page_number, side in array_order(range(len(own.pairs)), 1):
            for place in own.pairs[page_number].places(side):
                self.sources["pages", number].send(own.records(page_number, place) | {"top": tops[side]})
                words = own.pairs[page_number].words(place)
                self.sources["words", number].send_all(
                    {"data": data, "last": at == len(words) - 1} for at, data in enumerate(words)
                )

    def send_damaged(self, damaged: SentList, place: int) -> None:
        """A list of which engine ``place`` has a damaged share, and what must come of it: marked outputs."""
        own = damaged.attention
        channels = own.queries.shape[1]
        for number in range(ENGINES):
            if number != place:
                pairs = [random_pair(channels, "normal") for _ in range(random.randint(1, 2))]
                self._send_share(number, replace(own, pairs=pairs, scores=False), own.tops)
        self.sources["queries", place].send_all(damaged.queries.beats())
        for page_number, side in array_order(range(damaged.length), 1):
            for part in own.pairs[page_number].places(side):
                page_sent = damaged.pages[page_number, part]
                form = page_fields(CONFIG, page_sent.layout) | page_sent.form
                record = own.records(page_number, part) | {"form": form, "scores": False}
                self.sources["pages", place].send(record)
                self.sources["words", place].send_all(page_sent.word_beats())
        longest = max(channels, SHORTEST_GROUP * damaged.channels)
        unknown = {"half": (1 << HALF_BITS) - 1, "empty": 1, "error": 0, "last": 0}
        for channel in range(len(own.queries) * longest):
            last = channel % longest == longest - 1
            self.board.expect({"half": 0, "empty": 0, "error": True, "last": last}, unknown)
        self.wanted += len(own.queries) * longest

    async def finish(self, spacing: str = SPACINGS[0], **errors: int) -> None:
        """Wait for every output, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(50)
        self.board.finish()
        self.errors.expect(errors, spacing)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def shared_pages(dut: Any, stalls: str) -> None:
    """Lists of at least a page for each engine."""
    bench = Bench(await reset(dut, cycle_limit=200_000), stalls)
    await bench.load()
    for _ in range(LISTS):
        count = random.randint(1, CONFIG.kv.queries)
        attention = random_attention(count, random.randint(ENGINES, 4 * ENGINES), tables=LOADED)
        bench.send(replace(attention, scores=False))
    await bench.finish()


def other_channels() -> SentList:
    """A list that ends with other channels than its queries have, since its first page cannot be read."""
    while True:
        damaged = damaged_list("error_format", "only keys", random.randrange(60))
        if SHORTEST_GROUP * damaged.channels != damaged.attention.queries.shape[1]:
            return damaged


def damaged_acts(bench: Bench, counts: Counter[str]) -> Iterator[Callable[[], None]]:
    """Every fault in every engine's share, an intact list behind each; counts the errors on the way."""
    for fault, place in itertools.product((*FAULTS, None), range(ENGINES)):
        where = random.choice(list(PLACES))
        damaged = damaged_list(fault, where, random.randrange(60)) if fault else other_channels()
        for name, count in damaged.errors.items():
            counts[f"{name}_{place}"] += count
        yield lambda damaged=damaged, place=place: bench.send_damaged(damaged, place)
        attention = random_attention(random.randint(1, CONFIG.kv.queries), ENGINES)
        yield lambda attention=attention: bench.send(replace(attention, scores=False))


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def damaged_shares(dut: Any, spacing: str) -> None:
    """A list with a damaged share is marked whole and harms no other, whatever channels that share has."""
    bench = Bench(await reset(dut, cycle_limit=400_000), "both_random")
    await bench.load()
    counts: Counter[str] = Counter()
    await send_spaced(bench.domain, bench.sources.values(), damaged_acts(bench, counts), spacing)
    await bench.finish(spacing, **counts)
