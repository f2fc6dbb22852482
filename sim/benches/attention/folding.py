"""Folding: activations and offset terms of keys and values, equal to golden's bit for bit.

Parameters: ``config``, the fields of the configuration; ``vectors``, how many of them in a test.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from golden.attention import widths
from golden.attention.rounding import nearest
from golden.attention.scores import saturated_terms
from golden.numbers import floats
from hw.attention import folding
from hw.attention.payloads import folded_beat, folding_beat, offset_terms
from hw.config import Config
from hw.kv.payloads import Side
from sim import context
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
VECTORS: int = context.parameters()["vectors"]
LANES = CONFIG.activation_lanes
CENTRES = (0, 1, 2, 3, 7)
KINDS = ("normal", "any", "extreme", "subnormal", "tied", "large", "plain")
SIDES = ("key", "value")
SHAPES = {"folded": folded_beat(CONFIG), "terms": offset_terms(CONFIG)}
LARGEST = 65504.0

coverage = Coverage(
    "folding",
    {"side": SIDES, "centre": CENTRES, "kind": KINDS},
    lambda side, centre, kind: kind == "plain" and centre > 0,
)
coverage_rate = Coverage("attention_folding_rate", {"over": ("beats", "vectors")})
coverage_stalls = Coverage("folding_stalls", {"stalls": SITUATIONS, "side": SIDES})
coverage_folded = Coverage(
    "folding_folded",
    {"step": ("zero", "subnormal", "normal"), "rounds": ("exact", "down", "tie down", "tie up", "up")},
    lambda step, rounds: step == "zero" and rounds != "exact",
)
coverage_terms = Coverage(
    "folding_terms",
    {
        "side": SIDES,
        "negative": (False, True),
        "rounds": ("exact", "down", "tie", "up", "nothing", "saturates"),
    },
    lambda side, negative, rounds: side == "value" and rounds == "saturates",
)


@dataclass(frozen=True)
class Vector:
    """Operands of every column, float64 [N, C], steps and offsets [C], all numbers of their formats."""

    side: str
    top: int
    centre: int
    operands: np.ndarray
    steps: np.ndarray
    offsets: np.ndarray

    @property
    def fine(self) -> int:
        """Exponent of a unit of the offset term."""
        if self.side == "key":
            return -widths.TERM_FRACTION
        return widths.sum_exponent(self.top) - widths.TERM_EXTRA

    @property
    def products(self) -> np.ndarray:
        """Exact products of the offset terms, [1 or 2, N, C]."""
        parts = [self.operands * self.offsets]
        return np.stack(parts + [self.operands * self.steps * (1 << self.centre)] * (self.centre > 0))

    def beats(self) -> Iterator[dict[str, Any]]:
        operands = tf32(self.operands.T)
        steps, offsets = (x.astype(np.float16).view(np.uint16).tolist() for x in (self.steps, self.offsets))
        for start in range(0, len(operands), LANES):
            yield {
                "elements": [
                    {"operands": operands[at], "step": steps[at], "offset": offsets[at]}
                    for at in range(start, start + LANES)
                ],
                "side": Side[self.side.upper()],
                "top": self.top,
                "centre": self.centre,
                "last": int(start + LANES == len(operands)),
            }

    def folded(self) -> Iterator[dict[str, Any]]:
        elements = tf32(self.operands * self.steps)
        length = len(self.steps)
        for start in range(0, length, LANES):
            stop = start + LANES
            yield {"elements": [own[start:stop] for own in elements], "last": int(stop == length)}

    def terms(self) -> list[int]:
        """As ``golden.attention.scores`` and ``sums`` have them."""
        found = saturated_terms(self.products) if self.side == "key" else nearest(self.products, self.fine)
        return found.sum(axis=(0, -1)).tolist()

    def count(self, kind: str) -> None:
        """Coverage of what happens in it."""
        coverage.hit(side=self.side, centre=self.centre, kind=kind)
        exact = (self.operands * self.steps).ravel()
        steps = np.broadcast_to(self.steps, self.operands.shape).ravel()
        for value, step, small in zip(exact, steps, np.abs(steps) < 2.0**-14, strict=True):
            kept, rest = divmod(abs(float(np.frexp(value)[0])) * 2.0**11, 1)
            rounds = "exact" if rest == 0 else "down" if rest < 0.5 else "up"
            if rest == 0.5:
                rounds = "tie up" if kept % 2 else "tie down"
            name = "zero" if step == 0 else "subnormal" if small else "normal"
            coverage_folded.hit(step=name, rounds=rounds)
        for value in (self.products * 2.0**-self.fine).ravel():
            rest = value % 1
            rounds = "exact" if rest == 0 else "down" if rest < 0.5 else "tie" if rest == 0.5 else "up"
            if 0 < abs(value) < 2.0**-10:
                rounds = "nothing"
            if self.side == "key" and abs(value) >= 1 << widths.TERM_FRACTION + widths.TERM_INTEGER:
                rounds = "saturates"
            coverage_terms.hit(side=self.side, negative=bool(value < 0), rounds=rounds)


def tf32(x: np.ndarray) -> list[list[int]]:
    """Bit patterns."""
    return floats.encode(x.astype(np.float32), "tf32").tolist()


def random_vector(kind: str, side: str, centre: int, beats: int) -> Vector:
    """A vector of one kind whose numbers have the ranges of its side."""
    rng = np.random.default_rng(random.getrandbits(32))
    count, top = beats * LANES, 0 if side == "key" else int(rng.integers(1, 31))
    most_field = 30 if side == "key" else top
    highest = 15 if side == "key" else -1
    mantissas, fields = rng.integers(0, 1 << 11, (3, count)), rng.integers(1, most_field + 1, (2, count))
    powers = rng.integers(-32, highest + 1, count)
    if kind == "normal":
        powers = np.minimum(rng.integers(-4, 4, count), highest)
        fields = rng.integers(max(most_field - 9, 1), most_field + 1, (2, count))
    elif kind == "extreme":
        powers = rng.choice([-32, highest], count)
        mantissas = rng.choice([0, 1, 1023, 1024, 2047], (3, count))
        fields = rng.choice([1, most_field], (2, count))
    elif kind == "subnormal":
        mantissas[1:] &= (1 << rng.integers(0, 11, (2, count))) - 1
        fields = np.ones((2, count), int)
    elif kind == "tied":  # products of few bits, the lowest one about half a unit of the grid
        mantissas = (16 + rng.integers(0, 16, (3, count)) | 1) << 6
        fields[1] = fields[0]
        unit = -widths.TERM_FRACTION if side == "key" else widths.sum_exponent(top) - widths.TERM_EXTRA
        powers = np.clip(unit - 1 + 23 - fields[0] - rng.integers(-1, 8, count), -32, highest)
    elif kind == "large":
        powers = np.full(count, highest)
        fields = rng.integers(max(most_field - 4, 1), most_field + 1, (2, count))
    operands = (1024 + mantissas[0] % 1024) * np.exp2(powers - 10.0) * rng.choice([-1, 1], count)
    operands[rng.random(count) < 0.05] = 0
    if side == "value":
        operands = np.abs(operands)
        operands[rng.random(count) < 0.1] = 1
    pairs = rng.choice([-1, 1], (2, count)) * mantissas[1:] * np.exp2(fields - float(floats.HALF_UNIT))
    steps, offsets = np.where(mantissas[1:] < 1024, np.sign(pairs) * mantissas[1:] * 2.0**-24, pairs)
    if kind == "plain":
        steps, offsets, centre = np.ones(count), np.zeros(count), 0
    others = [rng.permutation(operands) for _ in range(1, CONFIG.columns)]
    return Vector(side, top, centre, np.stack([operands, *others]), steps, offsets)


class Bench:
    """Source, sinks and scoreboards."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.source = StreamSource(domain, "beats", folding_beat(CONFIG), where.source)
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                where.sink,
                where.sink_waits,
                observer=lambda bits, name=name: self.boards[name].observe(bits),
            )
            for name, shape in SHAPES.items()
        }
        self.forget()

    def forget(self) -> None:
        """Expect nothing."""
        self.boards = {name: Scoreboard(name, shape) for name, shape in SHAPES.items()}
        self.wanted = {name: sink.count for name, sink in self.sinks.items()}

    def send(self, vector: Vector) -> None:
        self.source.send_all(vector.beats())
        folded = list(vector.folded())
        self.boards["folded"].expect_all(folded)
        self.boards["terms"].expect_all([vector.terms()])
        self.wanted["folded"] += len(folded)
        self.wanted["terms"] += 1

    async def finish(self) -> None:
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(12)
        for board in self.boards.values():
            board.finish()


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    """Vectors of all lengths, sides and centres in turn."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000))
    for number in range(max(VECTORS, 2 * len(CENTRES))):
        centre = 0 if kind == "plain" else CENTRES[number // 2 % len(CENTRES)]
        vector = random_vector(kind, SIDES[number % 2], centre, random.choice((1, 1, 2, 8, 32)))
        vector.count(kind)
        bench.send(vector)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_stalls(dut: Any, stalls: str) -> None:
    """Short and long vectors under stalls on three streams."""
    bench = Bench(await reset(dut, cycle_limit=1_000_000), stalls)
    for number in range(max(VECTORS // 4, 8)):
        side = SIDES[number % 2]
        bench.send(random_vector("normal", side, random.choice(CENTRES), random.choice((1, 1, 2, 3, 9))))
        coverage_stalls.hit(stalls=stalls, side=side)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(negative=(False, True))
async def largest_terms(dut: Any, negative: bool) -> None:
    """Heads of 256 channels of the largest keys, pages of 64 of the largest values."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    for side, count, top, most in (("key", widths.MOST_CHANNELS, 0, LARGEST / 2), ("value", 64, 30, 1.0)):
        operands = floats.round_tf32(np.full((CONFIG.columns, count), most))
        extreme = np.full(count, -LARGEST if negative else LARGEST)
        bench.send(Vector(side, top, 7, operands, extreme, extreme))
    await bench.finish()


@cocotb.test()
async def exact_cycles(dut: Any) -> None:
    """A beat a cycle over all borders, at the stated latencies."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    cycles: dict[str, list[int]] = {"beats": [], "folded": [], "terms": []}
    for name, seen in cycles.items():
        StreamMonitor(bench.domain, name, observer=lambda _, seen=seen: seen.append(bench.domain.cycle))
    lengths = (3, 1, 1, 8, 2)
    for number, beats in enumerate(lengths):
        bench.send(random_vector("normal", SIDES[number % 2], 3, beats))
    await bench.finish()
    taken = np.array(cycles["beats"])
    assert (np.diff(taken) == 1).all()
    assert (taken + folding.LATENCY == cycles["folded"]).all()
    assert (taken[np.cumsum(lengths) - 1] + folding.LATENCY + 1 == cycles["terms"]).all()
    for name in ("beats", "vectors"):
        coverage_rate.hit(over=name)


@cocotb.test()
@cocotb.parametrize(cycles=(2, 4, 5, 9))
async def reset_forgets(dut: Any, cycles: int) -> None:
    """Nothing of a vector is left after a reset in the middle of it."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    bench.send(random_vector("normal", "key", 3, 32))
    await bench.domain.cycles(cycles)
    await bench.domain.reset()
    assert (dut.folded_valid.value, dut.terms_valid.value) == (0, 0)
    bench.forget()
    bench.send(random_vector("normal", "value", 2, 4))
    await bench.finish()
