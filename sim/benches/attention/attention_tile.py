"""Attention tile: outputs, scores and states of lists of pages equal golden ones, whatever the stalls.

Parameters: ``config``, the fields of the configuration; ``lists``, how many of them in a test.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.attention import engine, page
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.pages import SIDES, PageLayout
from hw.attention.payloads import attention_output, attention_page, query_beat, score_beat, softmax_state
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, word
from sim import context
from sim.benches.kv.pages import form_fields, random_elements, random_layout, words_of
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
LISTS: int = context.parameters()["lists"]
INPUTS = {"queries": query_beat(CONFIG), "pages": attention_page(CONFIG), "words": word(CONFIG.memory_bits)}
ERRORS = ErrorPlan("attention_tile")
OUTPUTS = {"outputs": attention_output, "scores": score_beat, "found": softmax_state(CONFIG)}


@dataclass(frozen=True)
class Pair:
    """Keys and values of a page: layouts and what is in them, and the valid tokens."""

    layouts: tuple[PageLayout, PageLayout]
    quantized: tuple[Quantized, Quantized]
    first: int
    last: int

    def top(self, side: int) -> int:
        """Largest exponent field of a side."""
        return int(self.layouts[side].format.largest_field(*self.quantized[side][1:]))

    def words(self, side: int) -> list[int]:
        """Words of memory of a side."""
        return words_of(self.layouts[side].pack(self.quantized[side]), CONFIG.memory_bits)


@dataclass(frozen=True)
class Attention:
    """A list of pages and the queries [N, D] that see them."""

    queries: NDArray[np.float16]
    pairs: Sequence[Pair]
    scores: bool

    @property
    def tops(self) -> tuple[int, ...]:
        """Of keys and of values."""
        return tuple(max(pair.top(side) for pair in self.pairs) for side in (0, 1))

    def query_beats(self) -> list[dict[str, Any]]:
        """Payloads of the queries."""
        lanes, count = CONFIG.activation_lanes, len(self.queries)
        beats = self.queries.view(np.uint16).reshape(count, -1, lanes).tolist()
        channels = self.queries.shape[1] // SHORTEST_GROUP
        return [
            {
                "elements": elements,
                "channels": channels,
                "last": number == len(own) - 1,
                "ends": number == len(own) - 1 and query == count - 1,
            }
            for query, own in enumerate(beats)
            for number, elements in enumerate(own)
        ]

    def records(self, number: int, side: int) -> dict[str, Any]:
        """The record of a page."""
        pair = self.pairs[number]
        return {
            "form": form_fields(pair.layouts[side]),
            "last_query": len(self.queries) - 1,
            "first": pair.first,
            "last": pair.last,
            "top": self.tops[side],
            "opens": number == 0,
            "closes": number == len(self.pairs) - 1,
            "scores": self.scores,
        }


def array_order(count: int) -> list[tuple[int, int]]:
    """Pages by number and side, in the order in which the array works on them."""
    order = [(0, 0)]
    for number in range(count):
        order += [(number + 1, 0), (number, 1)] if number + 1 < count else [(number, 1)]
    return order


class Bench:
    """The attention tile with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in INPUTS.items()
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.sinks = {
            name: StreamSink(domain, name, shape, where.sink, where.sink_waits, self._observer(name))
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)
        self.errors = ErrorCounter(domain, ERRORS)

    def _observer(self, name: str) -> Callable[[int], None]:
        return lambda bits: self.boards[name].observe(bits)

    def expect(self, name: str, value: Any, unknown: Any = 0) -> None:
        """One more beat of an output, of which bits set in ``unknown`` do not count."""
        self.boards[name].expect(value, unknown)
        self.wanted[name] += 1

    def send(self, attention: Attention) -> None:
        """A list, and what must come of it."""
        self.sources["queries"].send_all(attention.query_beats())
        for number, side in array_order(len(attention.pairs)):
            self.sources["pages"].send(attention.records(number, side))
            words = attention.pairs[number].words(side)
            self.sources["words"].send_all(
                {"data": data, "last": place == len(words) - 1} for place, data in enumerate(words)
            )
        self.expect_list(attention)

    def expect_list(self, attention: Attention) -> None:
        """What must come of an intact list."""
        query = fold(attention.queries)
        key_top, value_top = attention.tops
        count, channels = attention.queries.shape
        state = engine.start(count, channels, value_top)
        for pair in attention.pairs:
            keys, values = (
                page.read(layout.format, quantized)
                for layout, quantized in zip(pair.layouts, pair.quantized, strict=True)
            )
            state, found = engine.step(
                state, query, keys, values, CONFIG.numerics, key_top, pair.first, pair.last
            )
            if attention.scores:
                for own in found.tolist():
                    for token, value in enumerate(own):
                        self.expect("scores", {"score": value, "last": token == len(own) - 1})
        outputs = engine.finish(state, query)
        for number, own in enumerate(outputs.values.view(np.uint16).tolist()):
            if attention.scores:
                self.expect(
                    "found",
                    {
                        "query": number,
                        "maximum": int(state.maximum[number]),
                        "total": int(state.total[number]),
                    },
                )
            for channel, half in enumerate(own):
                empty, last = bool(outputs.empty[number]), channel == channels - 1
                self.expect("outputs", {"half": half, "empty": empty, "error": False, "last": last})

    async def finish(self, spacing: str = SPACINGS[0], **errors: int) -> None:
        """Wait for everything expected, see that nothing else comes, and compare the errors."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(50)
        for board in self.boards.values():
            board.finish()
        self.errors.expect(errors, spacing)


def random_pair(channels: int, places: Sequence[str] | None = None) -> Pair:
    """A page of any formats; ``places`` are the axes of keys and values."""
    layouts, quantized = [], []
    for number, side in enumerate(SIDES):
        axis = places[number] if places else random.choice(("token", "channel"))
        while True:
            layout = random_layout(CONFIG, place=(side, axis))
            if layout.channels == channels and (layout.format.group or 0) <= CONFIG.group:
                break
        layouts.append(layout)
        quantized.append(layout.format.quantize(random_elements(layout, "normal")))
    tokens = CONFIG.kv.page_tokens
    first, last = random.choice(
        [
            (0, tokens - 1),
            (0, tokens - 1),
            (0, random.randrange(tokens)),
            (random.randrange(tokens), tokens - 1),
        ]
    )
    return Pair(tuple(layouts), tuple(quantized), first, last)


def random_attention(count: int, length: int, places: Sequence[str] | None = None) -> Attention:
    """A list of so many queries and pages."""
    unit = max(SHORTEST_GROUP, CONFIG.lanes, CONFIG.rows)
    channels = unit * random.randint(1, CONFIG.kv.channels // unit)
    rng = np.random.default_rng(random.getrandbits(32))
    queries = (rng.standard_normal((count, channels)) * 2.0 ** rng.integers(-3, 3)).astype(np.float16)
    pairs = [random_pair(channels, places) for _ in range(length)]
    return Attention(queries, pairs, random.random() < 0.5)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def folded(dut: Any, stalls: str) -> None:
    """Keys by channel and values by token."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    for _ in range(LISTS):
        bench.send(
            random_attention(random.randint(1, CONFIG.kv.queries), random.randint(1, 4), ("channel", "token"))
        )
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_pages(dut: Any, stalls: str) -> None:
    """Pages of any formats."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    for _ in range(LISTS):
        bench.send(random_attention(random.randint(1, CONFIG.kv.queries), random.randint(1, 4)))
    await bench.finish()
