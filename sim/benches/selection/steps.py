"""Steps of decoding: attention's own scores decide which tokens move, against golden after every step.

Tokens are real-like: a slow drift, some loud channels, and queries that look for a few of them. A step
attends to all tokens, adds to their importance, demotes the least important ones of the first class, drops
those of the second, and closes the holes that both have left.
"""

import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.attention import engine, page
from golden.attention.scores import fold
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.kv.schemes import WINDOW
from golden.selection import top_k
from golden.selection.classes import LEFT, Classes, Pool, packed
from golden.selection.importance import accumulate
from hw.attention.payloads import attention_page, query_beat, quotient
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, word
from hw.selection.moving.payloads import map_word
from hw.selection.payloads import (
    Measure,
    found_tokens,
    importance_page,
    importance_sum,
    score_lanes,
    score_pass,
    score_words,
    selection_request,
)
from sim import context
from sim.benches.kv.pages import form_fields, words_of
from sim.benches.selection.class_memory import ClassMemory
from sim.benches.selection.moves import Move, MoveBench
from sim.coverage import Coverage
from sim.streams import Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
STEPS: int = context.parameters()["steps"]
TOKENS, WIDTH, CHANNELS = config.kv.page_tokens, config.memory_bits, config.kv.channels
LANES, QUERIES = score_lanes(config), config.kv.queries
KEPT = (TOKENS, 2 * TOKENS)
"""Tokens in pages of each class that may stay."""
FORMATS = (
    (Format("native", 8, "channel", 32), Format("native", 8, "token", 32)),
    (Format("native", 2, "channel", 32), Format("native", 4, "token", 32)),
)

coverage = Coverage("selection_steps", {"happens": ("demoted", "dropped", "compacted", "closed", "freed")})


def layouts_of(forms: tuple[Format, Format]) -> tuple[PageLayout, PageLayout]:
    """Keys and values of a page."""
    key, value = (
        PageLayout(form, side, TOKENS, CHANNELS, config.rows, config.lanes)
        for form, side in zip(forms, SIDES, strict=True)
    )
    return key, value


class Seen:
    """Pages that attention sees, in order: bytes of both sides, layouts, and the tokens at their places."""

    def __init__(self, memory: ClassMemory) -> None:
        golden = memory.golden
        self.pages: list[tuple[tuple[PageLayout, PageLayout], list[NDArray[np.uint8]], list[int]]] = []
        for number, own in enumerate(memory.classes):
            for row, table in zip(own.table, golden.table(number), strict=True):
                self.pages.append((own.layouts, own.pages[row.number], table.tokens.tolist()))
        window = layouts_of((WINDOW, WINDOW))
        for number in range(golden.evicted):
            waiting = golden.waiting(number)
            if len(waiting.index):
                missing = TOKENS - len(waiting.index)
                sides = [np.pad(side, ((0, missing), (0, 0))) for side in waiting[1:]]
                packed_sides = [
                    layout.pack(layout.format.quantize(side))
                    for layout, side in zip(window, sides, strict=True)
                ]
                self.pages.append((window, packed_sides, [*waiting.index.tolist(), *[LEFT] * missing]))

    @property
    def tokens(self) -> NDArray[np.intp]:
        """Of all places."""
        return np.concatenate([tokens for _, _, tokens in self.pages]).astype(np.intp)

    def quantized(self, number: int) -> list[Any]:
        """Keys and values of a page."""
        layouts, sides, _ = self.pages[number]
        return [layout.unpack(side) for layout, side in zip(layouts, sides, strict=True)]

    @property
    def tops(self) -> list[int]:
        """Largest exponent fields of both sides."""
        fields = [
            [
                int(layout.format.largest_field(own.scale, own.zero))
                for layout, own in zip(layouts, self.quantized(number), strict=True)
            ]
            for number, (layouts, _, _) in enumerate(self.pages)
        ]
        return np.max(fields, 0).tolist()

    def valid(self, number: int) -> int:
        """Tokens of a page, which are its first ones."""
        tokens = np.array(self.pages[number][2])
        count = int((tokens != LEFT).sum())
        assert (tokens[:count] != LEFT).all(), "a hole is left"
        return count


class Bench:
    """The design, the memory of one head and of the map."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain

        def source(name: str, shape: Any) -> StreamSource:
            return StreamSource(domain, name, shape, where.source)

        def sink(name: str, shape: Any, observer: Any = None) -> StreamSink:
            return StreamSink(domain, name, shape, where.sink, where.sink_waits, observer)

        self.outputs = Scoreboard("attention_outputs", quotient)
        self.output_sink = sink("attention_outputs", quotient, self.outputs.observe)
        self.queries = source("attention_queries", query_beat(config))
        self.pages = source("attention_pages", attention_page(config))
        self.words = source("attention_words", word(WIDTH))
        self.sum_pages = source("importance_pages", importance_page(config))
        self.before = source("importance_before", importance_sum)
        self.after = sink("importance_after", importance_sum)
        self.requests = source("selector_requests", selection_request)
        self.found = sink("selector_found", found_tokens)
        sink("selector_passes", score_pass, lambda _: self.scores.send_all(self.score_words))
        self.scores = source("selector_scores", score_words(config))
        self.moves = MoveBench(domain, config, stalls, "mover_")
        sink("map_reads", map_word(config)["address"].shape, lambda bits: self.map_words.send(self.map[bits]))
        self.map_words = source("map_words", WIDTH)
        self.map_writes = sink("map_writes", map_word(config), self._write_map)
        self.map = [0] * (65536 * 2 // WIDTH)
        self._probes, self._number = domain.writer("probes"), domain.writer("number")
        self._wanted = 0
        pools = [Pool(layouts_of(forms), random.sample(range(200), 40)) for forms in FORMATS]
        self.memory = ClassMemory(Classes(pools), pools, WIDTH)
        self.moves.use(self.memory)

    def _write_map(self, bits: int) -> None:
        write = self.map_writes.codec.unpack(bits)
        self.map[write["address"]] = write["data"]

    def _send_list(self, seen: Seen, queries: NDArray[np.float16]) -> None:
        """The pages of a list, values a page late."""
        tops, count = seen.tops, len(seen.pages)
        keys = [(number, 0) for number in range(count)]
        values = [(number, 1) for number in range(count)]
        order = [keys[0], *(one for pair in zip(keys[1:], values, strict=False) for one in pair), values[-1]]
        for number, side in order:
            layouts, sides, _ = seen.pages[number]
            record = {
                "form": form_fields(layouts[side]),
                "last_query": QUERIES - 1,
                "first": 0,
                "last": seen.valid(number) - 1,
                "causal": 0,
                "top": tops[side],
                "opens": number == 0,
                "closes": number == count - 1,
                "scores": 1,
            }
            self.pages.send(record)
            words = words_of(sides[side], WIDTH)
            self.words.send_all(
                {"data": own, "last": place == len(words) - 1} for place, own in enumerate(words)
            )
        beats = queries.view(np.uint16).reshape(QUERIES, -1, config.activation_lanes).tolist()
        for query, own in enumerate(beats):
            for place, elements in enumerate(own):
                last = place == len(own) - 1
                ends = last and query == QUERIES - 1
                channels = CHANNELS // SHORTEST_GROUP
                self.queries.send({"elements": elements, "channels": channels, "last": last, "ends": ends})

    async def attend(self, queries: NDArray[np.float16]) -> None:
        """Attention to all tokens, and what it adds to their importance."""
        seen = Seen(self.memory)
        tokens, sums = seen.tokens, np.array(self.memory.sums)
        before = np.where(tokens == LEFT, 0, sums[tokens])
        folded, (key_top, value_top) = fold(queries), seen.tops
        state, found = engine.start(QUERIES, CHANNELS, value_top), []
        for number, (layouts, _, _) in enumerate(seen.pages):
            keys, values = (
                page.read(layout.format, own)
                for layout, own in zip(layouts, seen.quantized(number), strict=True)
            )
            last = np.full(QUERIES, seen.valid(number) - 1)
            state, own_scores = engine.step(state, folded, keys, values, config.numerics, key_top, 0, last)
            found.append(own_scores)
        outputs = engine.finish(state, folded)
        scores = np.concatenate(found, 1)
        after = accumulate(before, scores, state.maximum, state.total, tokens != LEFT)
        for number in range(len(seen.pages)):
            live = (1 << seen.valid(number)) - 1
            self.sum_pages.send({"last_query": QUERIES - 1, "opens": number == 0, "fresh": 0, "live": live})
        self.before.send_all({"sum": int(value), "last": 0} for value in before)
        for probes in (0, 1):
            self._probes(probes)
            self._send_list(seen, queries)
            for own in outputs.values.view(np.uint16).tolist():
                for channel, half in enumerate(own):
                    last = channel == CHANNELS - 1
                    self.outputs.expect({"half": half, "empty": False, "error": False, "last": last})
            self._wanted += outputs.values.size
            await self.output_sink.wait_for(self._wanted)
            await self.domain.cycles(50)
        answers = await self.after.receive(len(before))
        assert [answer["sum"] for answer in answers] == after.tolist()
        for token, value in zip(tokens.tolist(), after.tolist(), strict=True):
            if token != LEFT:
                self.memory.sums[token] = value
        self.memory.refresh()

    async def move(self, source: int, target: int, scores: list[int], count: int, lowest: bool) -> None:
        """Move as many of the first tokens of a class as are chosen by these scores."""
        waits = source != target
        chosen = np.zeros(len(self.memory.live_entries(source, waits)), bool)
        values = np.array(scores, np.uint32)
        chosen[: len(scores)] = top_k(values, count, lowest)
        padded = scores + [random.getrandbits(32)] * (-len(scores) % LANES)
        self.score_words = [padded[first : first + LANES] for first in range(0, len(padded), LANES)]
        self._number(target)
        freed = self.moves.freed
        self.moves.send(Move(source, target, chosen))
        request = {"tokens": len(scores), "measure": Measure.COUNT, "amount": count, "lowest": lowest}
        self.requests.send(request)
        (answer,) = await self.found.receive(1)
        assert answer["count"] == count
        await self.moves.finish()
        await self.domain.cycles(30)
        if self.moves.freed > freed:
            coverage.hit(happens="freed")

    def check(self) -> None:
        """The map too is golden's."""
        found = packed(self.memory.golden.map, 2)
        wanted = int.from_bytes(found.tobytes(), "little")
        assert sum(own << place * WIDTH for place, own in enumerate(self.map)) == wanted
        self.outputs.finish()


def sums_of(memory: ClassMemory, number: int) -> list[int]:
    """Importance of the tokens in pages of a class, in the order of attention."""
    return [entry["sum"] for entry in memory.live_entries(number, False)]


async def thin(bench: Bench, number: int) -> None:
    """Let the least important tokens of a class leave, then close its holes."""
    memory = bench.memory
    sums = sums_of(memory, number)
    if len(sums) > KEPT[number]:
        closed = len(memory.classes[number + 1].table) if number == 0 else 0
        await bench.move(number, number + 1, sums, len(sums) - KEPT[number], True)
        coverage.hit(happens=("demoted", "dropped")[number])
        if number == 0 and len(memory.classes[1].table) > closed:
            coverage.hit(happens="closed")
    holes = [page.tokens for page in memory.golden.table(number) if (page.tokens == LEFT).any()]
    if holes:
        inside = {token for tokens in holes for token in tokens.tolist()} - {LEFT}
        marks = [int(entry["index"] in inside) for entry in memory.live_entries(number, False)]
        await bench.move(number, number, marks, sum(marks), False)
        coverage.hit(happens="compacted")


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def steps(dut: Any, stalls: str) -> None:
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    rng = np.random.default_rng(random.getrandbits(32))
    loud = np.where(rng.random(CHANNELS) < 0.1, 6.0, 1.0)
    drift = rng.standard_normal(CHANNELS)
    for step in range(STEPS):
        count = 3 * TOKENS if step == 0 else TOKENS + rng.integers(1, TOKENS)
        steps_of = 0.2 * rng.standard_normal((count, CHANNELS))
        keys = (drift + np.cumsum(steps_of, 0) + 0.7 * rng.standard_normal((count, CHANNELS))) * loud
        drift = drift + steps_of.sum(0)
        values = rng.standard_normal((count, CHANNELS))
        halves = [side.astype(np.float16) for side in (keys, values)]
        bench.memory.append(*halves, np.zeros(count, int), fresh=True)
        looked_for = keys[rng.integers(count, size=QUERIES)] / loud**2
        await bench.attend((looked_for + 0.3 * rng.standard_normal(looked_for.shape)).astype(np.float16))
        for number in (0, 1):
            await thin(bench, number)
        bench.check()
        dut._log.info(f"step {step}: cycle {bench.domain.cycle}")
