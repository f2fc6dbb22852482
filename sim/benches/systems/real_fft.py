"""Real FFT: every column equal to golden, whatever the elements, the lengths in turn and the stalls."""

import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.systems.vidkv import real_fft
from hw.config import Config
from hw.systems.payloads import (
    TransformLength,
    TransformSide,
    channel_element,
    transform_column,
    transform_request,
)
from hw.systems.real_fft import cycles
from sim import context
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["vectors"]

LENGTHS = real_fft.LENGTHS
SIDES = real_fft.SIDES
KINDS = ("normal", "any", "outlier", "tone", "constant", "largest", "subnormal", "zero", "one")
FAULTS = ("none", "clamped", "short", "long")
coverage = Coverage("real_fft", {"elements": KINDS, "length": LENGTHS, "side": SIDES})
coverage_columns = Coverage(
    "real_fft_columns", {"column": ("zero", "subnormal", "normal", "largest"), "side": SIDES}
)
coverage_rate = Coverage("real_fft_rate", {"length": LENGTHS, "side": SIDES})
coverage_stalls = Coverage("real_fft_stalls", {"situation": SITUATIONS})
errors = ErrorPlan("real_fft")

Vector = NDArray[np.float16]


class Bench:
    """The circuit with its streams; cycles of the last columns are noted."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.errors = ErrorCounter(domain, errors)
        self.board = Scoreboard("columns", transform_column)
        self.requests = StreamSource(domain, "requests", transform_request, where.source)
        self.elements = StreamSource(domain, "elements", channel_element, where.source)
        self.sink = StreamSink(
            domain, "columns", transform_column, where.sink, where.sink_waits, self.observe
        )
        self.sources = (self.requests, self.elements)
        self.wanted = 0
        self.overflows = 0
        self.times: list[int] = []

    def observe(self, bits: int) -> None:
        self.board.observe(bits)
        if self.sink.codec.unpack(bits)["last"]:
            self.times.append(self.domain.cycle)

    def send(self, vector: Vector, side: str, fault: str = "none") -> None:
        """A vector, complete or with a fault, and its columns."""
        length = len(vector)
        self.requests.send(
            {"length": TransformLength[f"CHANNELS{length}"], "side": TransformSide[side.upper()]}
        )
        count = {"short": random.randint(1, length - 1), "long": length + random.randint(1, length)}.get(
            fault, length
        )
        bits = np.resize(vector.view(np.uint16), count)
        if fault == "clamped":
            place = random.randrange(length)
            bits[place] = random.choice((0x7C00, 0xFC00, 0x7E01, 0xFFFF))
            vector = vector.copy()
            vector[place] = -real_fft.magnitudes.LARGEST if bits[place] >> 15 else real_fft.magnitudes.LARGEST
        self.elements.send_all(
            {"element": int(half), "last": number == count - 1} for number, half in enumerate(bits)
        )
        if fault in ("short", "long"):
            return
        columns = real_fft.columns(vector, side)
        self.overflows += overflows(vector, side)
        self.board.expect_all(
            {"column": int(half), "last": number == length - 1}
            for number, half in enumerate(columns.view(np.uint16))
        )
        self.wanted += length
        cover(columns, side)

    async def reset(self) -> None:
        """Forget all vectors."""
        await self.domain.reset()
        self.board = Scoreboard("columns", transform_column)
        self.wanted = self.sink.count

    async def finish(self) -> None:
        """Wait for every column, and see that no other comes."""
        await self.sink.wait_for(self.wanted)
        for source in self.sources:
            await source.drained()
        await self.domain.cycles(2 * LENGTHS[-1])
        self.board.finish()


def overflows(vector: Vector, side: str) -> int:
    """Columns that float16 does not hold: those that change where the vector is 2^10 times as small."""
    columns = np.abs(real_fft.columns(vector, side))
    small = np.abs(real_fft.columns(vector * np.float16(2.0**-10), side).astype(np.float64))
    at_end = columns == real_fft.magnitudes.LARGEST
    return int((at_end & (small > 65504 * 2.0**-10)).sum())


def cover(columns: Vector, side: str) -> None:
    size = columns.view(np.uint16) & 0x7FFF
    kinds = np.select([size == 0, size < 0x400, size == 0x7BFF], ["zero", "subnormal", "largest"], "normal")
    for kind in set(kinds.tolist()):
        coverage_columns.hit(column=kind, side=side)


def random_vector(kind: str, length: int) -> Vector:
    rng = np.random.default_rng(random.getrandbits(32))
    words = rng.integers(0, 0x7C00, length) | rng.integers(0, 2, length) << 15
    place = np.arange(length)
    turns = place * rng.integers(0, length // 2 + 1) / length + rng.random()
    found = {
        "normal": rng.standard_normal(length) * 2.0 ** rng.integers(-4, 5),
        "any": words.astype(np.uint16).view(np.float16),
        "outlier": np.where(place == rng.integers(length), 1000, rng.standard_normal(length)),
        "tone": np.cos(2 * np.pi * turns) * 2.0 ** rng.integers(-14, 15),
        "constant": np.full(length, rng.standard_normal()),
        "largest": rng.choice([65504, -65504], length) if rng.random() < 0.7 else np.full(length, -65504),
        "subnormal": rng.integers(-1023, 1024, length) * 2.0**-24,
        "zero": rng.choice([0.0, -0.0], length),
        "one": (place == rng.integers(length)) * rng.choice([2.0**-24, 1, -65504]),
    }
    return found[kind].astype(np.float16)


def sent(kind: str, length: int, side: str) -> tuple[Vector, str]:
    """A vector of a kind, whose bin is hit."""
    coverage.hit(elements=kind, length=length, side=side)
    return random_vector(kind, length), side


def any_vector() -> tuple[Vector, str]:
    return sent(random.choice(KINDS), random.choice(LENGTHS), random.choice(SIDES))


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=1_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    """Keys and queries of both lengths in any order."""
    bench = await start(dut)
    wanted = [(length, side) for length in LENGTHS for side in SIDES] * COUNT
    for length, side in random.sample(wanted, len(wanted)):
        bench.send(*sent(kind, length, side))
    await bench.finish()
    bench.errors.expect({"overflow": bench.overflows})


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(6):
        bench.send(*any_vector())
    coverage_stalls.hit(situation=stalls)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_vectors(dut: Any, spacing: str) -> None:
    """What is too short, too long or not finite changes no other vector, in every order."""
    bench = await start(dut)
    faults = every_pair(FAULTS)
    acts = [lambda fault=fault: bench.send(*any_vector(), fault) for fault in faults]
    await send_spaced(bench.domain, bench.sources, acts, spacing)
    await bench.finish()
    counts = {f"error_{fault}": faults.count(fault) for fault in ("short", "long")}
    bench.errors.expect({**counts, "clamped": faults.count("clamped"), "overflow": bench.overflows}, spacing)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    bench = await start(dut, "both_random")
    for _ in range(8):
        for _ in range(3):
            bench.send(*any_vector())
        await bench.domain.cycles(random.randint(1, 600))
        await bench.reset()
        bench.send(*any_vector())
        await bench.finish()


@cocotb.test()
@cocotb.parametrize(length=LENGTHS)
async def full_throughput(dut: Any, length: int) -> None:
    """As many cycles from vector to vector as stated, fewer than words of cached keys.

    256 cached keys of twice as many channels, 2 bits each, are so many words of 256 bits.
    """
    bench = await start(dut)
    for side in SIDES * 3:
        bench.send(random_vector("normal", length), side)
        coverage_rate.hit(length=length, side=side)
    await bench.finish()
    found = [after - before for before, after in zip(bench.times, bench.times[1:], strict=False)]
    assert found == [cycles(length)] * 5, found
    words = 256 * 2 * length * 2 // 256
    assert cycles(length) < 0.8 * words
    dut._log.info(f"{length} elements: {cycles(length)} cycles, {words} words of 256 cached keys")
