"""Token writer: tokens of many windows in one memory, byte for byte as golden has them."""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden.kv import window
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, element_beat, token_record, window_write
from hw.kv.token_writer import token_cycles, token_latency
from sim import context
from sim.benches.kv.pages import KINDS, tied_elements
from sim.benches.kv.windows import (
    GROUP,
    Place,
    SentToken,
    random_window,
    sent_token,
    store,
    token_elements,
)
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.stalls import Situation, bursts
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["tokens"]
WIDTH, LANES = config.memory_bits, config.kv.lanes
FREE = situation("free_running")

errors = ErrorPlan("kv_token_writer")
coverage = Coverage("kv_token_writer", {"kind": tuple(KINDS), "side": SIDES})
coverage_stalls = Coverage("kv_token_writer_stalls", {"stalls": SITUATIONS, "side": SIDES})
coverage_rate = Coverage("kv_token_writer_rate", {"before": SIDES, "after": SIDES})


class Bench:
    """The writer with its streams on a memory, beside which golden keeps the one that is wanted.

    Both begin with the same random bytes, so that a byte too many is seen; they are compared token by token.
    """

    def __init__(self, domain: Domain, where: Situation, layouts: list[PageLayout]) -> None:
        self.domain = domain
        self.tokens = StreamSource(domain, "tokens", token_record(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        shape = window_write(config)
        self.sink = StreamSink(domain, "writes", shape, where.sink, where.sink_waits, self._observe)
        self.errors = ErrorCounter(domain, errors)
        sizes = [size for layout in layouts for size in (layout.bytes, window.copy_bytes(layout))]
        starts = [0, *itertools.accumulate(sizes)]
        self.windows = [Place(layout, *starts[2 * number :][:2]) for number, layout in enumerate(layouts)]
        self.memory = np.frombuffer(random.randbytes(starts[-1]), np.uint8).copy()
        self.wanted = self.memory.copy()
        self.ends: list[int] = []
        self.writes: list[int] = []
        self._under_way: deque[tuple[Place, SentToken]] = deque()
        self._bytes = self._writes = 0

    def send(self, number: int, token: SentToken) -> None:
        """A token of a window."""
        self.tokens.send(token.record)
        self.elements.send_all(token.beats)
        if token.kept is not None:
            self._under_way.append((self.windows[number], token))

    def any_token(self, number: int, kind: str = "normal", place: int | None = None) -> SentToken:
        """A token of a window, at a random place by default."""
        layout = self.windows[number].layout
        place = random.randrange(layout.tokens) if place is None else place
        top = random.choice((1, random.randint(1, 31)))
        return sent_token(layout, place, token_elements(layout, kind), LANES, top)

    def _observe(self, bits: int) -> None:
        assert self._under_way, "a write without a token"
        place, token = self._under_way[0]
        write = self.sink.codec.unpack(bits)
        self._bytes += store(self.memory, place, write, WIDTH)
        self._writes += 1
        if not write["last"]:
            assert write["top"] == 0
            return
        self._under_way.popleft()
        record, layout = token.record, place.layout
        pages = place.views(self.wanted)
        top = window.append(*pages, layout, record["place"], token.kept, record["top"])
        assert write["top"] == top
        np.testing.assert_array_equal(self.memory, self.wanted)
        assert self._bytes == 3 * layout.channels + 4 * (layout.channels // GROUP), "bytes written twice"
        self.writes.append(self._writes)
        self.ends.append(self.domain.cycle)
        self._bytes = self._writes = 0

    def forget(self) -> None:
        """What was under way is lost; what it wrote stays."""
        self._under_way.clear()
        self._bytes = self._writes = 0
        self.wanted[:] = self.memory

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for the last write, see that no other comes, and compare the errors."""
        await self.elements.drained()
        for _ in range(200_000):
            if not self._under_way:
                break
            await self.domain.cycles(1)
        await self.domain.cycles(60)
        assert not self._under_way
        assert self._bytes == 0
        self.errors.expect(counts, spacing)


async def start(dut: Any, where: Situation = FREE, layouts: list[PageLayout] | None = None) -> Bench:
    """By default with windows of both sides, of several heads."""
    domain = await reset(dut, cycle_limit=3_000_000)
    both = [random_window(config, side) for side in (*SIDES, *SIDES)]
    return Bench(domain, where, layouts or both)


@cocotb.test()
@cocotb.parametrize(kind=tuple(KINDS))
async def every_kind(dut: Any, kind: str) -> None:
    """Elements that are hard to quantise, heads and sides in any order, several times at a place."""
    bench = await start(dut)
    for count in range(COUNT):
        number = count % len(bench.windows)
        bench.send(number, bench.any_token(number, kind))
        coverage.hit(kind=kind, side=bench.windows[number].layout.side)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, situation(stalls))
    for count in range(max(COUNT // 2, 4)):
        number = count % len(bench.windows)
        bench.send(number, bench.any_token(number, random.choice(tuple(KINDS))))
        coverage_stalls.hit(stalls=stalls, side=bench.windows[number].layout.side)
    await bench.finish()


@cocotb.test()
async def late_writes(dut: Any) -> None:
    """A token waits for the one before, however long its last writes do."""
    bench = await start(dut, Situation("long_bursts", sink=bursts(150)))
    for count in range(3 * COUNT):
        number = count % len(bench.windows)
        bench.send(number, bench.any_token(number))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(side=SIDES)
async def every_place(dut: Any, side: str) -> None:
    """Each place of a page, in the longest head and in one of an odd number of groups."""
    longest = config.kv.channels // GROUP
    layouts = [random_window(config, side, GROUP * count) for count in {longest, (longest - 1) | 1}]
    bench = await start(dut, layouts=layouts)
    for number, layout in enumerate(layouts):
        for place in random.sample(range(layout.tokens), layout.tokens):
            bench.send(number, bench.any_token(number, place=place))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(sign=(1, -1), off=(-1, 0, 1))
async def every_tie(dut: Any, sign: int, off: int) -> None:
    """Elements halfway between any two codes go to the even one, others to the nearest."""
    layout = random_window(config, channels=config.kv.channels // GROUP * GROUP)
    bench = await start(dut, layouts=[layout])
    for place, x in enumerate(tied_elements(layout, sign, off)):
        bench.send(0, sent_token(layout, place, x, LANES))
    await bench.finish()


def least_writes(layout: PageLayout) -> int:
    """Whole words of the copy, a piece each, and the scales and the minima in one each."""
    piece = min(layout.lanes if layout.side == "key" else layout.rows, WIDTH // 8)
    return layout.channels * 16 // WIDTH + layout.channels // piece + 2


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """Without stalls tokens take the cycles of the formula, the first one those of its latency."""
    lengths = range(GROUP, config.kv.channels + 1, GROUP)
    layouts = [random_window(config, side, channels) for channels in lengths for side in SIDES]
    bench = await start(dut, layouts=layouts)
    taken: list[int] = []
    StreamMonitor(bench.domain, "elements", observer=lambda _: taken.append(bench.domain.cycle))
    for first, channels in zip(range(0, len(layouts), 2), lengths, strict=True):
        bench.ends.clear()
        bench.writes.clear()
        taken.clear()
        order = every_pair((0, 1))
        for side in order:
            bench.send(first + side, bench.any_token(first + side))
        await bench.finish()
        assert bench.ends[0] - taken[channels // LANES - 1] == token_latency(config, channels)
        assert (np.diff(bench.ends) == token_cycles(config, channels)).all()
        if channels // GROUP in (1, 2, 4):  # others lie across a border at some places
            assert bench.writes == [least_writes(layouts[first + side]) for side in order]
        for before, after in itertools.pairwise(order):
            coverage_rate.hit(before=SIDES[before], after=SIDES[after])


def bad_token(bench: Bench, number: int, fault: str, variant: int) -> SentToken:
    """A token with a fault; ``variant`` numbers the ways in which it can be wrong."""
    layout = bench.windows[number].layout
    token = bench.any_token(number)
    if fault == "clamped":
        x = token_elements(layout, "normal")
        for value in (np.inf, -np.inf, np.nan):
            x[random.randrange(layout.channels)] = value
        return sent_token(layout, token.record["place"], x, LANES)
    beats, record = token.beats, token.record
    if fault == "error_format":
        most = config.kv.channels // SHORTEST_GROUP
        wrong = [*range(1, most, 2), *range(most + 1, 1 << most.bit_length()), 0]
        record = record | {"channels": wrong[variant % len(wrong)]}
        beats = beats[: (1, len(beats))[variant // len(wrong) % 2]]
    elif fault == "error_short":
        beats = beats[: (1, len(beats) - 1, len(beats) // 2)[variant % 3]]
    else:
        beats = (beats * 3)[: len(beats) + (1, 5, len(beats))[variant % 3]]
    beats = [beat | {"last": place == len(beats) - 1} for place, beat in enumerate(beats)]
    return token._replace(record=record, beats=beats, kept=None, counts={fault: 1})


def tokens_of_every_fault(bench: Bench, variant: int) -> Iterator[tuple[int, SentToken]]:
    """Tokens in which every fault and an intact one follow each other in every order, the last one intact."""
    variants = {fault: itertools.count(variant) for fault in errors.names}
    for fault in every_pair((None, *errors.names)):
        number = random.randrange(len(bench.windows))
        token = bench.any_token(number)
        yield number, token if fault is None else bad_token(bench, number, fault, next(variants[fault]))


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def faults(dut: Any, spacing: str) -> None:
    """Bad tokens are counted and left out, infinities and NaNs clamped."""
    bench = await start(dut)
    tokens = list(tokens_of_every_fault(bench, 5 * (spacing == "apart")))
    acts = [lambda sent=sent: bench.send(*sent) for sent in tokens]
    await send_spaced(bench.domain, (bench.tokens, bench.elements), acts, spacing)
    counts = {name: sum(token.counts.get(name, 0) for _, token in tokens) for name in errors.names}
    await bench.finish(spacing, **counts)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a token leaves nothing behind."""
    bench = await start(dut)
    for pause in (0, 40, 75):
        bench.send(0, bench.any_token(0))
        whole = bench.any_token(0)
        bench.send(0, whole._replace(beats=whole.beats[:-1], kept=None))
        await bench.elements.drained()
        await bench.domain.cycles(pause)
        await bench.domain.reset()
        bench.forget()
        bench.send(1, bench.any_token(1))
        await bench.finish()
