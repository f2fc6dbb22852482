"""Activation buffer: every pass gives the vector's chunks and summaries, whatever the stalls on four streams.

Parameters: ``config``, the fields of the configuration.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from amaranth.utils import ceil_log2

from sim.benches.activations.aligned_vectors import CONFIG, LONGEST, PARTS, Bench, Vector
from sim.coverage import Coverage
from sim.stalls import never
from sim.streams import SITUATIONS, StreamMonitor, StreamSink, reset

VECTORS = 8 if CONFIG.attention else 2

coverage = Coverage(
    "activation_buffer",
    {
        "stalls": SITUATIONS,
        "count": (0, 1, 2, 3),
        "keep": (0, 1),
        "short": (0, 1),
        "attention": (False, True),
    },
)

coverage_rate = Coverage(
    "activation_buffer_rate",
    {"over": ("groups", "passes", "commands", "vectors", "short vectors", "summaries")},
)

coverage_waiting = Coverage(
    "activation_buffer_waiting",
    {"attention": (False, True), "full": ("vectors", "chunks", "groups")},
    impossible=lambda attention, full: not attention and full != "vectors",
)


def lengths() -> list[int]:
    """Beats of interesting vectors."""
    full = CONFIG.group // CONFIG.activation_lanes
    named = [1, 2, full - 1, full, full + 1, 2 * full, LONGEST - 1, LONGEST]
    drawn = [random.randint(1, LONGEST) for _ in range(4)]
    return [min(max(1, beats), LONGEST) for beats in named + drawn]


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_pass(dut: Any, stalls: str) -> None:
    """Vectors of many lengths, each under several commands."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    full = CONFIG.group // CONFIG.activation_lanes
    for last_count, beats in itertools.product(range(4), lengths()):
        vector = Vector.random(beats)
        kept = [(random.randint(0, 3), 1) for _ in range(random.choice((0, 0, 1, 3)))]
        commands = [*kept, (last_count, 0)]
        bench.send(vector, commands)
        for count, keep in commands:
            short = int(beats % full > 0)
            coverage.hit(stalls=stalls, count=count, keep=keep, short=short, attention=CONFIG.attention)
    await bench.finish()


@cocotb.test()
async def no_bubbles(dut: Any) -> None:
    """Chunks follow each other across passes, commands and vectors, 2 cycles after the first command."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"passes": [], "activations": [], "summaries": [], "aligned": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    bench.send(Vector.random(LONGEST), [(PARTS, 1), (1, 1), (2, 0)])
    bench.send(Vector.random(PARTS), [(1, 1), (2, 1), (1, 1), (1, 1), (PARTS, 0)])
    bench.send(Vector.random(1), [(1, 1)] * 5 + [(1, 0)])
    await bench.finish()
    given = cycles["activations"]
    assert given == list(range(given[0], given[0] + len(given)))
    assert given[0] == cycles["summaries"][0] == cycles["passes"][0] + 2
    taken = cycles["aligned"][: LONGEST + PARTS]
    assert taken == list(range(taken[0], taken[0] + len(taken)))
    assert cycles["passes"][0] == taken[LONGEST - 1] + 1
    for over in ("groups", "passes", "commands", "vectors"):
        coverage_rate.hit(over=over)


@cocotb.test()
async def short_vectors(dut: Any) -> None:
    """Vectors of 8 beats, each used for 8 chunks, take 8 cycles each, over many turns of the ring."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"activations": [], "aligned": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    beats = min(8, LONGEST)
    vectors = [Vector.random(beats) for _ in range(8 * VECTORS)]
    for vector in vectors:
        bench.send(vector, [(beats // vector.places, 0)])
    await bench.finish()
    if VECTORS > 2:  # of two vectors one is read and the other one waits to be claimed
        for name, seen in cycles.items():
            assert seen == list(range(seen[0], seen[0] + beats * len(vectors))), name
        coverage_rate.hit(over="short vectors")


@cocotb.test()
async def summaries_without_gaps(dut: Any) -> None:
    """A summary a cycle through all passes of a command, from 2 cycles after it was accepted."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"passes": [], "summaries": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    vector, commands = Vector.random(LONGEST), [(3, 1), (1, 1), (2, 0)]
    bench.send(vector, commands)
    await bench.finish()
    wanted = [
        accepted + 2 + number
        for accepted, (count, _) in zip(cycles["passes"], commands, strict=True)
        for number in range(count * vector.groups)
    ]
    assert cycles["summaries"] == wanted
    coverage_rate.hit(over="summaries")


@cocotb.test()
async def summaries_lag(dut: Any) -> None:
    """All chunks of two commands come although no summary was taken, then all of the summaries."""
    sink: list[StreamSink] = []
    wanted = 5 * len(Vector.random(LONGEST).chunks())

    def late(_: random.Random) -> Iterator[bool]:
        while True:
            yield not sink or sink[0].count < wanted

    bench = Bench(await reset(dut, cycle_limit=10_000), lag=never, summary_lag=late)
    sink.append(bench.activations)
    bench.send(Vector.random(LONGEST), [(2, 1), (3, 0)])
    await bench.finish()


@cocotb.test()
async def chunks_lag(dut: Any) -> None:
    """All summaries of a command come although no chunk was taken, then all of the chunks."""
    sink: list[StreamSink] = []
    vector = Vector.random(LONGEST)

    def late(_: random.Random) -> Iterator[bool]:
        while True:
            yield not sink or sink[0].count < 3 * vector.groups

    bench = Bench(await reset(dut, cycle_limit=10_000), lag=late, summary_lag=never)
    sink.append(bench.summaries)
    bench.send(vector, [(3, 0)])
    await bench.finish()


def room(longest: int) -> int:
    """Places of a ring for two vectors of ``longest`` places."""
    return 1 << ceil_log2(2 * longest)


def waiting() -> Iterator[tuple[str, list[Vector]]]:
    """Vectors that fill the buffer, and what of it is full then."""
    yield "vectors", [Vector.random(1) for _ in range(VECTORS)]
    if not CONFIG.attention:
        yield "vectors", [Vector.random(LONGEST) for _ in range(VECTORS)]
        return
    shortest = min(CONFIG.group_lengths)
    chunks, groups = room(LONGEST // PARTS), room(CONFIG.maximum_groups)
    for full, beats, length in (
        ("chunks", chunks * PARTS, CONFIG.group),
        ("groups", groups * shortest // CONFIG.activation_lanes, shortest),
    ):
        lengths = [LONGEST] * (beats // LONGEST) + [beats % LONGEST] * (beats % LONGEST > 0)
        yield full, [Vector.random(beats, length) for beats in lengths]
    for _ in range(10):
        vectors: list[Vector] = []
        left = min(chunks, groups) - VECTORS
        for _ in range(VECTORS):
            places = random.randint(1, min(LONGEST // PARTS, 1 + left))
            vectors.append(Vector.random(places * PARTS - random.randrange(PARTS)))
            left -= places - 1
        random.shuffle(vectors)
        yield "vectors", vectors


@cocotb.test()
async def vectors_wait(dut: Any) -> None:
    """Vectors that fill the buffer wait for commands; no beat of one more is accepted before they leave."""
    bench = Bench(await reset(dut, cycle_limit=50_000))
    for full, vectors in waiting():
        sent, beats = bench.aligned.sent, sum(vector.beats for vector in vectors)
        for vector in vectors:
            bench.aligned.send_all(vector.aligned())
        await bench.domain.cycles(beats + 3)
        assert bench.aligned.sent == sent + beats, "a beat had to wait"
        extra = Vector.random(random.randint(1, LONGEST))
        bench.aligned.send_all(extra.aligned())
        await bench.domain.cycles(20)
        assert bench.aligned.sent == sent + beats, "a beat was accepted although the buffer is full"
        for vector in vectors:
            bench.use(vector, [(random.randint(0, 2), 1), (random.randint(0, 2), 0)])
        bench.use(extra, [(1, 0)])
        await bench.finish()
        coverage_waiting.hit(attention=CONFIG.attention, full=full)


@cocotb.test()
@cocotb.parametrize(lagging=("activations", "summaries"))
async def one_side_keeps(dut: Any, lagging: str) -> None:
    """What one of the outputs has left behind stays for the other one, while the buffer fills up again."""
    bench: list[Bench] = []

    def late(rng: random.Random) -> Iterator[bool]:
        for _ in range(40):
            yield from [True] * (3 * LONGEST)
            yield from [False] * rng.randint(1, 8)
        while True:
            yield False

    lags = {"activations": (late, never), "summaries": (never, late)}
    bench.append(Bench(await reset(dut, cycle_limit=50_000), "free_running", *lags[lagging]))
    for beats in [LONGEST] * 6 + [1] * 12 + lengths():
        bench[0].send(Vector.random(beats, min(CONFIG.group_lengths)), [(1, 0)])
    await bench[0].finish()


@cocotb.test()
@cocotb.parametrize(cycles=(2, 9, 30, 55))
async def reset_forgets(dut: Any, cycles: int) -> None:
    """After a reset in the middle of loading and streaming it is empty."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    bench.send(Vector.random(LONGEST), [(3, 0)])
    bench.send(Vector.random(LONGEST), [(3, 0)])
    await bench.domain.cycles(cycles)
    await bench.domain.reset()
    assert (dut.vector_valid.value, dut.activations_valid.value, dut.summaries_valid.value) == (0, 0, 0)
    bench.forget()
    bench.chunks, bench.groups = bench.activations.count, bench.summaries.count
    bench.send(Vector.random(1), [(2, 1), (1, 0)])
    bench.send(Vector.random(LONGEST), [(2, 0)])
    await bench.finish()
