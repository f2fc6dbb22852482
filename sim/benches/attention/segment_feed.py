"""Segment feed: lists of products; no list's sums begin afresh before those that lay there were read.

Parameters: ``config``, the fields of the configuration; ``lists``, how many in a test.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import cocotb

from golden.kv.pages import SIDES, PageLayout
from hw.attention.payloads import (
    Access,
    column_state,
    divisor,
    softmax_state,
    value_product,
    value_read,
    value_segments,
)
from hw.attention.product_shape import of_columns
from hw.config import Config
from sim import context
from sim.benches.kv.pages import form_fields, random_layout
from sim.packing import codec
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
LISTS: int = context.parameters()["lists"]
QUERIES, ROWS = CONFIG.kv.queries, CONFIG.rows
SEGMENT, READ = codec(value_segments(CONFIG)), codec(value_read(CONFIG))
COLUMNS = CONFIG.columns
STATES, READS = of_columns("states", CONFIG), of_columns("reads", CONFIG)
INPUTS = {
    "products": value_product(CONFIG),
    **dict.fromkeys(STATES, column_state(CONFIG)),
    "specials": QUERIES,
}
OUTPUTS = {
    "segments": value_segments(CONFIG),
    **dict.fromkeys(READS, value_read(CONFIG)),
    "divisors": divisor,
    "found": softmax_state(CONFIG),
}


def slow(rng: random.Random) -> Iterator[bool]:
    """Reads take their time, as if all sums of a query left."""
    while True:
        yield rng.random() < 0.96


class Bench:
    """The circuit with its streams, and whose sums lie where."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in INPUTS.items()
        }
        self.boards = {name: Scoreboard(name, OUTPUTS[name]) for name in ("divisors", "found")}
        observers = {"segments": self._segment}
        observers |= {name: partial(self._read, column) for column, name in enumerate(READS)}
        observers |= {name: board.observe for name, board in self.boards.items()}
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                slow if name in READS else where.sink,
                where.sink_waits,
                observers[name],
            )
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)
        self.lists = 0
        self.beside = 0  # segments that begin afresh beside sums that are not read
        self.owners: dict[int, tuple[int, int]] = {}  # of places: the number of a list, and a turn
        self.unread: set[tuple[int, int]] = set()  # places and columns of complete sums
        self.columns: dict[int, int] = {}  # of places: columns that have a query
        self.segments: deque[tuple[tuple[int, int], int, bool, dict[str, Any]]] = deque()
        self.reads: deque[tuple[tuple[int, int], int, int]] = deque()

    def send(self, queries: int, pages: int) -> None:
        """A list, and what must come of it."""
        layout = random_layout(CONFIG, place=(SIDES[1], random.choice(("token", "channel"))))
        top, scores = random.randrange(32), random.getrandbits(1)
        flags = random.getrandbits(QUERIES)
        self.sources["specials"].send(flags)
        for page in range(pages):
            fields = {
                "form": form_fields(layout),
                "last_query": queries - 1,
                "causal": 0,
                "top": top,
                "opens": page == 0,
                "closes": page == pages - 1,
                "scores": scores,
            }
            self._page(layout, queries, fields)
        for query in range(-(-queries // COLUMNS) * COLUMNS):
            turn, column = divmod(query, COLUMNS)
            state = {"query": turn, "maximum": random.randint(-999, 999), "total": random.getrandbits(20)}
            self.sources[STATES[column]].send(state)
            if query >= queries:
                continue
            divided = {
                "maximum": state["maximum"],
                "total": state["total"],
                "top": top,
                "special": flags >> query & 1,
                "error": 0,
            }
            self.boards["divisors"].expect(divided)
            self.wanted["divisors"] += 1
            if scores:
                self.boards["found"].expect(state | {"query": query})
                self.wanted["found"] += 1
            self.reads.append(((self.lists, turn), column, layout.channels // ROWS))
            self.wanted[READS[column]] += 1
        self.lists += 1

    def _page(self, layout: PageLayout, queries: int, fields: dict[str, Any]) -> None:
        folded = layout.format.axis == "token"
        outputs = layout.format.group if folded else layout.channels
        parts = layout.channels // outputs
        turns = -(-queries // COLUMNS)
        for turn, part in itertools.product(range(turns), range(parts)):
            moved = [random.randrange(63) for _ in range(COLUMNS)]
            last = part == parts - 1 and turn == turns - 1
            product = {
                "page": fields | {"first": 0, "last": 0},
                "turn": turn,
                "part": part,
                "last_part": part == parts - 1,
                "last": last,
            }
            self.sources["products"].send({"product": product, "moved": moved})
            segment = {
                "access": Access.DOTS if folded else Access.RESULTS,
                "block": part * outputs // ROWS,
                "blocks": outputs // ROWS,
                "moved": moved,
                "fresh": fields["opens"],
                "top": fields["top"],
            }
            columns = min(COLUMNS, queries - turn * COLUMNS)
            self.segments.append(((self.lists, turn), columns, last and fields["closes"], segment))
            self.wanted["segments"] += 1

    def _segment(self, bits: int) -> None:
        found = SEGMENT.unpack(bits)
        place = found.pop("query")
        owner, columns, ends, expected = self.segments.popleft()
        assert found == expected
        if expected["fresh"]:
            unread = {where for where, _ in self.unread}
            assert place not in unread, f"{owner} overwrites {self.owners[place]}, which is not read"
            self.owners[place], self.columns[place] = owner, columns
            self.beside += bool(self.unread)
        assert self.owners[place] == owner, f"{owner} is added to {self.owners[place]}"
        if ends:
            complete = [place for place, own in self.owners.items() if own[0] == owner[0]]
            self.unread |= {(place, column) for place in complete for column in range(self.columns[place])}

    def _read(self, column: int, bits: int) -> None:
        found = READ.unpack(bits)
        owner, of, blocks = self.reads.popleft()
        place = found["query"]
        assert (found["blocks"], column) == (blocks, of)
        assert self.owners[place] == owner, f"{owner} is read at {self.owners[place]}"
        assert (place, column) in self.unread, f"{owner} is not complete"
        self.unread.remove((place, column))

    async def finish(self) -> None:
        """Wait for everything expected and see that nothing else comes."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(20)
        for board in self.boards.values():
            board.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_lists(dut: Any, stalls: str) -> None:
    bench = Bench(await reset(dut, cycle_limit=500_000), stalls)
    for _ in range(LISTS):
        bench.send(random.randint(1, QUERIES), random.randint(1, 3))
    await bench.finish()


@cocotb.test()
async def few_queries(dut: Any) -> None:
    """The next list does not wait until sums are read, the one after it does."""
    bench = Bench(await reset(dut, cycle_limit=500_000), SITUATIONS[0])
    for _ in range(LISTS):
        bench.send(random.randint(1, QUERIES // 2), random.randint(1, 3))
    await bench.finish()
    assert bench.beside > LISTS // 2


@cocotb.test()
async def many_queries(dut: Any) -> None:
    """Every list waits until all is read."""
    bench = Bench(await reset(dut, cycle_limit=500_000), SITUATIONS[0])
    for _ in range(LISTS):
        bench.send(random.randint(QUERIES // 2 + 1, QUERIES), random.randint(1, 3))
    await bench.finish()
    assert bench.beside == 0
