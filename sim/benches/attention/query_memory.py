"""Query memory: every operand and flag equal to golden's, bit for bit, whatever the stalls.

Parameters: ``config``, the fields of the configuration; ``lists``, how many of them in a test; ``stride``,
every which pattern of float16.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from hw.attention.payloads import operand_beat, query_beat, query_request, tf32
from hw.attention.query_memory import DELAY, PACE
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP
from sim import context
from sim.benches.attention.query_lists import FAULTS, KINDS, QueryList, faulty_list, random_list
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["lists"]
STRIDE: int = context.parameters()["stride"]
LANES, ROOM = config.activation_lanes, config.kv.queries
MOST = config.kv.channels // SHORTEST_GROUP
MOST_PARTS = 3
"""Requests that a turn of queries is wanted in."""
EVERY_BIT = (1 << tf32.size) - 1
OUTPUTS = {"operands": operand_beat(config), "specials": ROOM, "damaged": 1}

errors = ErrorPlan("attention_query_memory")
coverage = Coverage("attention_query_memory", {"kind": KINDS, "stalls": SITUATIONS})
coverage_channels = Coverage("attention_query_memory_channels", {"channels": range(1, 17)})
coverage_numbers = Coverage(
    "attention_query_memory_numbers",
    {"number": ("zero", "subnormal", "normal", "infinity", "nan"), "negative": (False, True)},
)
coverage_faults = Coverage("attention_query_memory_faults", {"before": FAULTS, "after": FAULTS})
coverage_rate = Coverage("attention_query_memory_rate", {"of": ("elements", "operands", "requests")})


class Bench:
    """The memory with its streams.

    Attributes:
        holds: the flags of lists are not taken.
        splits: turns of queries are wanted in parts, where they may be.
    """

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.holds, self.splits = False, True
        self.queries = StreamSource(domain, "queries", query_beat(config), where.source)
        self.requests = StreamSource(domain, "requests", query_request(config), where.source)
        self.boards: dict[str, Scoreboard] = {}
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                (lambda rng: self._held(where.sink(rng))) if name == "specials" else where.sink,
                where.sink_waits,
                lambda bits, name=name: self.boards[name].observe(bits),
            )
            for name, shape in OUTPUTS.items()
        }
        self.errors = ErrorCounter(domain, errors)
        self.expected_errors = 0
        self.forget()

    def _held(self, stalls: Iterator[bool]) -> Iterator[bool]:
        for stalled in stalls:
            yield stalled or self.holds

    def forget(self) -> None:
        """Expect nothing."""
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.wanted = {name: sink.count for name, sink in self.sinks.items()}
        self.expected_errors = 0

    def send(self, queries: QueryList, repeats: bool = False) -> None:
        """A list, and requests of all that is kept of it, in order or repeatedly in any order."""
        self.load(queries)
        self.request(queries, repeats)

    def load(self, queries: QueryList) -> None:
        """A list, its flags and its errors."""
        self.queries.send_all(queries.beats())
        _, flags = queries.expected()
        self.boards["specials"].expect(flags)
        self.wanted["specials"] += 1
        self.expected_errors += queries.errors

    def request(self, queries: QueryList, repeats: bool = False, other: int | None = None) -> None:
        """Requests of a list and their operands; one of them, at least, of ``other`` channels."""
        patterns, _ = queries.expected()
        columns = config.columns
        wanted = [*range(-(-queries.count // columns))]
        if repeats:
            wanted = random.choices(wanted, k=random.randint(1, 2 * len(wanted)))
        right = queries.length // SHORTEST_GROUP
        asked = [right] * len(wanted)
        if other is not None:
            asked = random.choices((right, other), k=len(wanted))
            asked[random.randrange(len(wanted))] = other
        for number, (turn, channels) in enumerate(zip(wanted, asked, strict=True)):
            own = np.zeros((columns, SHORTEST_GROUP * channels), np.int64)
            present = range(turn * columns, min((turn + 1) * columns, queries.count))
            for row, query in zip(own, present, strict=False):
                row[:] = np.resize(patterns[query], len(row))
            cuts = self._cuts(channels)
            ends = {SHORTEST_GROUP * cut for cut in cuts}
            for start, end in itertools.pairwise(cuts):
                last = number == len(wanted) - 1 and end == channels
                part = {"start": start, "continues": end < channels} if config.kv.split_keys else {}
                self.requests.send({"turn": turn, "channels": end - start, "last": last, **part})
            beats = own.reshape(columns, -1, LANES).swapaxes(0, 1).tolist()
            for place, beat in enumerate(beats, 1):
                beyond = place * LANES > queries.length
                unknown = [[EVERY_BIT * (beyond or n >= len(present))] * LANES for n in range(columns)]
                self.boards["operands"].expect(
                    {"elements": beat, "last": place * LANES in ends},
                    {"elements": unknown, "last": 0},
                )
            self.wanted["operands"] += len(beats)
        differs = right not in asked or len({*asked}) > 1
        self.boards["damaged"].expect(differs or queries.errors > 0)
        self.wanted["damaged"] += 1
        self.expected_errors += differs

    def _cuts(self, channels: int) -> list[int]:
        """Where the requests of a turn of queries begin and end; there is one where keys are not split."""
        most = min(channels, MOST_PARTS) if config.kv.split_keys and self.splits else 1
        cuts = sorted(random.sample(range(1, channels), random.randint(1, most) - 1))
        return [0, *cuts, channels]

    async def finish(self, spacing: str = SPACINGS[0]) -> None:
        """Wait for everything expected, see that nothing else comes, compare the errors."""
        await self.queries.drained()
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(20)
        for board in self.boards.values():
            board.finish()
        self.errors.expect({"error": self.expected_errors}, spacing)


def any_list(kind: str) -> QueryList:
    """Of any lengths."""
    return random_list(
        config, kind, random.choice((1, MOST, random.randint(1, MOST))), random.randint(1, ROOM)
    )


@cocotb.test()
async def every_pattern(dut: Any) -> None:
    """Float16's patterns, for queries of every length."""
    bench = Bench(await reset(dut, cycle_limit=8_000_000))
    patterns = np.arange(random.randrange(STRIDE), 1 << 16, STRIDE).astype(np.uint16)
    special = (patterns & 0x7C00) == 0x7C00
    for channels in range(1, MOST + 1):
        length = SHORTEST_GROUP * channels
        rows = np.resize(patterns, (-(-len(patterns) // length), length))
        for start in range(0, len(rows), ROOM):
            bench.send(QueryList(config, [*rows[start : start + ROOM]], channels))
        coverage_channels.hit(channels=channels)
    for pattern, wrong in zip(patterns.tolist(), special.tolist(), strict=True):
        magnitude = pattern & 0x7FFF
        name = "zero" if magnitude == 0 else "subnormal" if magnitude < 0x400 else "normal"
        if wrong:
            name = "infinity" if magnitude == 0x7C00 else "nan"
        coverage_numbers.hit(number=name, negative=bool(pattern >> 15))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_stalls(dut: Any, stalls: str) -> None:
    """Lists of all kinds and lengths, read in any order, under stalls on four streams."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    for number in range(max(COUNT, len(KINDS))):
        kind = KINDS[number % len(KINDS)]
        bench.send(any_list(kind), repeats=True)
        coverage.hit(kind=kind, stalls=stalls)
    await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """An element in ``PACE`` cycles and a beat of operands in one, over all borders, at the stated delays."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    bench.splits = False
    cycles: dict[str, list[int]] = {"queries": [], "operands": [], "requests": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    lists = [random_list(config, "normal", channels, 2 * config.columns) for channels in (MOST, 1)]
    for one in lists:
        bench.load(one)
    await bench.queries.drained()
    await bench.domain.cycles(20)
    offered = bench.domain.cycle + 1
    for one in lists:
        bench.request(one)
    await bench.finish()
    assert (np.diff(cycles["queries"]) == PACE * LANES).all()
    assert (np.diff(cycles["operands"]) == 1).all()
    assert cycles["operands"][0] == offered + 2, (offered, cycles["operands"][0])
    ends = np.cumsum([one.length // LANES for one in lists for _ in range(2)]) - 1
    assert (np.array(cycles["operands"])[ends] == np.array(cycles["requests"]) + 1).all()

    for seen in cycles.values():
        seen.clear()
    bench.send(lists[0])
    await bench.finish()
    assert cycles["operands"][0] == cycles["queries"][-1] + DELAY, (cycles["queries"][-1], cycles["operands"])
    for name in ("elements", "operands", "requests"):
        coverage_rate.hit(of=name)


@cocotb.test()
async def waiting_flags(dut: Any) -> None:
    """Two lists' flags may wait; the next list comes in once the first ones are taken, and not before."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    bench.holds = True
    lists = [random_list(config, "special", 1, number) for number in (ROOM, 1, 2)]
    for one in lists:
        bench.send(one)
    beats = [len(list(one.beats())) for one in lists]
    while bench.queries.sent < sum(beats[:2]):
        await bench.domain.cycles(1)
    await bench.domain.cycles(100)
    assert bench.queries.sent == sum(beats[:2])
    bench.holds = False
    await bench.finish()


@cocotb.test()
async def unread_lists(dut: Any) -> None:
    """A third list waits until the first one has been read for the last time."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    lists = [random_list(config, "any", MOST, ROOM) for _ in range(3)]
    for one in lists:
        bench.load(one)
    beats = len(list(lists[0].beats()))
    await bench.domain.cycles(3 * beats * LANES * PACE)
    assert bench.queries.sent == 2 * beats
    for one in lists:
        bench.request(one, repeats=True)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def faults(dut: Any, spacing: str) -> None:
    """Queries too short, too long or too many, and impossible lengths, before and behind each other."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    order = every_pair(FAULTS)
    acts = [lambda fault=fault: bench.send(faulty_list(config, fault), repeats=True) for fault in order]
    await send_spaced(bench.domain, (bench.queries, bench.requests), acts, spacing)
    await bench.finish(spacing)
    for before, after in itertools.pairwise(order):
        coverage_faults.hit(before=before, after=after)


@cocotb.test(skip=MOST == 1)
@cocotb.parametrize(spacing=SPACINGS)
async def other_channels(dut: Any, spacing: str) -> None:
    """Requests of fewer or more channels than the queries have, between good lists, and of bad lists."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    acts = []
    for fault in (*every_pair(("none", "other")), *FAULTS):
        queries = faulty_list(config, "none" if fault == "other" else fault)
        right = queries.length // SHORTEST_GROUP
        other = random.choice([number for number in range(1, MOST + 1) if number != right])

        def act(queries: QueryList = queries, other: int | None = None if fault == "none" else other) -> None:
            bench.load(queries)
            bench.request(queries, repeats=True, other=other)

        acts.append(act)
    await send_spaced(bench.domain, (bench.queries, bench.requests), acts, spacing)
    await bench.finish(spacing)


@cocotb.test(skip=MOST == 1)
async def errors_together(dut: Any) -> None:
    """An error of a list that is read counts beside that of a query that comes in, in any cycle."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    length = SHORTEST_GROUP * MOST
    for early in range(-4, 8):
        read, coming = random_list(config, "any", 1, 1), faulty_list(config, "too many channels")
        bench.load(read)
        await bench.queries.drained()
        await bench.domain.cycles(20)
        bench.load(coming)
        await bench.domain.cycles(PACE * length - length // LANES - early)
        bench.request(read, other=MOST)
        bench.request(coming)
        await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere nothing of the lists before is left."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000), "both_random")
    for _ in range(8):
        for _ in range(3):
            bench.send(any_list("special"))
        await bench.domain.cycles(random.randint(1, 4 * PACE * LANES * MOST * ROOM))
        await bench.domain.reset()
        bench.forget()
        bench.send(any_list("any"))
        await bench.finish()
