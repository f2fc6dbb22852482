"""Aligner: what comes out is the golden alignment bit for bit, whatever the stalls.

Parameters: ``config``, the fields of the configuration; ``sweep``, whether to run ``every_pattern``.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden.activations.aligner import FORMATS, align
from hw.activations.aligner import Aligner
from hw.config import Config
from hw.payloads import HALVING_BITS, ActivationFormat, activation_beat, aligned_beat
from sim import context
from sim.benches.activations.patterns import OUTCOMES, can_be, outcomes, pattern_groups
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, send_spaced
from sim.streams import (
    SITUATIONS,
    Domain,
    Scoreboard,
    StreamMonitor,
    StreamSink,
    StreamSource,
    reset,
    situation,
)

CONFIG = Config.model_validate(context.parameters()["config"])
SWEEPS: bool = context.parameters().get("sweep", False)
NAMES = (*FORMATS, *(("tf32",) if CONFIG.attention else ()))
KINDS = ("random", "close", "subnormal", "zero", "special")

errors = ErrorPlan("aligner")
coverage_rate = Coverage("aligner_rate", {"over": ("groups", "vectors", "formats", "cut vectors")})
coverage_patterns = Coverage(
    "aligner_patterns",
    {"bits": range(8, 17), "format": tuple(FORMATS), "outcome": OUTCOMES, "negative": (False, True)},
    lambda bits, format, outcome, negative: not can_be(format, bits, outcome),
)
coverage = Coverage(
    "aligner_tf32" if CONFIG.attention else "aligner", {"stalls": SITUATIONS, "format": NAMES, "kind": KINDS}
)
coverage_groups = Coverage("aligner_groups", {"group": CONFIG.group_lengths, "stalls": SITUATIONS})


class Bench:
    """Source, sink and scoreboard around the design."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.scoreboard = Scoreboard("aligned", aligned_beat(CONFIG))
        self.source = StreamSource(domain, "beats", activation_beat(CONFIG), where.source)
        self.sink = StreamSink(
            domain,
            "aligned",
            aligned_beat(CONFIG),
            where.sink,
            where.sink_waits,
            observer=lambda bits: self.scoreboard.observe(bits),
        )
        self.errors = ErrorCounter(domain, errors)
        self.expected = 0

    def send(self, bits: np.ndarray, format: str, group: int = CONFIG.group) -> None:
        """Queue the vector ``bits`` [columns, C], or [vectors, columns, C], and what must come of it.

        C is a number of whole beats.
        """
        vectors = bits.reshape(-1, *bits.shape[-2:])
        for vector in vectors:
            self.source.send_all(input_beats(vector, format, group))
        for beat in output_beats(vectors[..., : CONFIG.maximum_inputs], format, group):
            self.scoreboard.expect(beat)
            self.expected += 1

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self.scoreboard = Scoreboard("aligned", aligned_beat(CONFIG))
        self.expected = self.sink.count

    async def finish(self) -> None:
        """Wait for all that is expected, and a little for what is not."""
        await self.source.drained()
        await self.sink.wait_for(self.expected)
        await self.domain.cycles(20)
        self.scoreboard.finish()


def input_beats(bits: np.ndarray, format: str, group: int) -> Iterator[dict[str, Any]]:
    """The beats of a vector; only the first one tells the true format and length of groups."""
    true, shortest = sent_format(format).value, len(CONFIG.group_lengths) - 1
    halvings = CONFIG.group_lengths.index(group)
    if halvings == shortest:
        halvings = random.randint(shortest, (1 << HALVING_BITS) - 1)
    places = 0 if format == "tf32" else CONFIG.element_bits - 16
    for start in range(0, bits.shape[1], CONFIG.activation_lanes):
        stop = start + CONFIG.activation_lanes
        yield {
            "elements": (bits[:, start:stop].astype(int) << places).tolist(),
            "last": int(stop == bits.shape[1]),
            "format": true if start == 0 else random.getrandbits(1),
            "halvings": halvings if start == 0 else random.getrandbits(HALVING_BITS),
        }


def output_beats(bits: np.ndarray, format: str, length: int) -> Iterator[dict[str, Any]]:
    """The golden beats of vectors [vectors, columns, C]."""
    lanes = CONFIG.activation_lanes
    beats, group_beats = bits.shape[-1] // lanes, length // lanes
    aligned = align(bits, format, length, CONFIG.activation_bits)
    integers = aligned.integers.reshape(*bits.shape[:2], beats, lanes)
    special = align(bits.reshape(integers.shape), format, lanes, CONFIG.activation_bits).special
    special = np.logical_or.accumulate(special, axis=-1)
    assert (special[..., -1] == aligned.special).all()
    for vector, beat in itertools.product(range(len(bits)), range(beats)):
        group = beat // group_beats
        sums = integers[vector, :, group * group_beats : beat + 1].sum(axis=(1, 2))
        last = beat == beats - 1
        group_last = last or (beat + 1) % group_beats == 0
        yield {
            "elements": integers[vector, :, beat].tolist(),
            "columns": [
                {
                    "exponent": int(aligned.exponents[vector, column, group]),
                    "sum": int(aligned.sums[vector, column, group] if group_last else sums[column]),
                    "special": int(special[vector, column, beat]),
                }
                for column in range(CONFIG.columns)
            ],
            "format": sent_format(format),
            "group_last": int(group_last),
            "last": int(last),
        }


def sent_format(format: str) -> ActivationFormat:
    """What a vector says of itself: TF32 has the exponent of BF16."""
    return ActivationFormat[{"tf32": "bf16"}.get(format, format).upper()]


def random_bits(kind: str, format: str, beats: int) -> np.ndarray:
    """A vector of one kind, uint16, of "tf32" uint32, [columns, C]."""
    rng = np.random.default_rng(random.getrandbits(32))
    shape = (CONFIG.columns, beats * CONFIG.activation_lanes)
    fraction_bits = {"fp16": 10, "bf16": 7, "tf32": 10}[format]
    highest = 31 if format == "fp16" else 255
    signs = rng.integers(0, 2, shape) * (highest + 1 << fraction_bits)
    fractions = rng.integers(0, 1 << fraction_bits, shape)
    top = rng.integers(CONFIG.activation_bits, highest, (CONFIG.columns, 1))
    fields = {
        "random": rng.integers(0, highest, shape),
        "close": np.maximum(0, top - rng.integers(0, CONFIG.activation_bits + 2, shape)),
        "subnormal": np.zeros(shape, int),
        "zero": np.zeros(shape, int),
        "special": np.where(rng.random(shape) < 0.05, highest, rng.integers(0, highest, shape)),
    }[kind]
    bits = signs | fields << fraction_bits | (0 if kind == "zero" else fractions)
    return bits.astype(np.uint32 if format == "tf32" else np.uint16)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def equals_golden(dut: Any, stalls: str) -> None:
    """Vectors of every kind and many lengths, of both formats in turn."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    full = CONFIG.group // CONFIG.activation_lanes
    longest = CONFIG.maximum_inputs // CONFIG.activation_lanes
    lengths = [1, 1, 1, 2, full, full - 1 or 1, full + 1, 2 * full, longest, 1]
    groups = itertools.cycle(CONFIG.group_lengths)
    for beats in lengths:
        for kind in KINDS:
            for format in random.sample(NAMES, len(NAMES)):
                group = next(groups) if random.random() < 0.9 else random.choice(CONFIG.group_lengths)
                bench.send(random_bits(kind, format, min(beats, longest)), format, group)
                coverage.hit(stalls=stalls, format=format, kind=kind)
                coverage_groups.hit(group=group, stalls=stalls)
    await bench.finish()


@cocotb.test(skip=not SWEEPS)
async def every_pattern(dut: Any) -> None:
    """All patterns of both formats at all distances, of which every way of rounding must come."""
    bench = Bench(await reset(dut, cycle_limit=100_000))
    width = CONFIG.activation_bits
    for format in FORMATS:
        groups = pattern_groups(format, width, CONFIG.group)
        shape = CONFIG.columns, CONFIG.numerics.maximum_groups, CONFIG.group
        filled = np.resize(groups, (-(-len(groups) // (shape[0] * shape[1])), *shape))
        bench.send(filled.reshape(len(filled), CONFIG.columns, CONFIG.maximum_inputs), format)
        for outcome, negative in outcomes(groups, format, width):
            coverage_patterns.hit(bits=width, format=format, outcome=outcome, negative=negative)
    await bench.finish()


def consecutive(cycles: list[int]) -> bool:
    """Whether no cycle is left out."""
    return cycles == list(range(cycles[0], cycles[0] + len(cycles)))


@cocotb.test()
@cocotb.parametrize(beats=(1, 2, 3, 0), group=CONFIG.group_lengths)
async def no_bubbles(dut: Any, beats: int, group: int) -> None:
    """Without stalls, every cycle takes a beat and gives one, at the latency that the docstring states."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    taken: list[int] = []
    given: list[int] = []
    StreamMonitor(bench.domain, "beats", observer=lambda _: taken.append(bench.domain.cycle))
    StreamMonitor(bench.domain, "aligned", observer=lambda _: given.append(bench.domain.cycle))
    full = group // CONFIG.activation_lanes
    beats = min(beats or 2 * full, 2 * full, CONFIG.maximum_inputs // CONFIG.activation_lanes)
    for number in range(12):
        format = NAMES[number % len(NAMES)]
        bench.send(random_bits("random", format, beats), format, group)
    await bench.finish()
    stages = Aligner(CONFIG).stages
    assert consecutive(taken)
    assert consecutive(given)
    assert given[0] - taken[min(beats, full) - 1] == 4 + stages
    for over in ("groups", "vectors", "formats"):
        coverage_rate.hit(over=over)


@cocotb.test()
async def no_bubbles_after_long_vectors(dut: Any) -> None:
    """Beats that are dropped take a cycle each, and leave the next vectors their rate."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    taken: list[int] = []
    StreamMonitor(bench.domain, "beats", observer=lambda _: taken.append(bench.domain.cycle))
    longest = CONFIG.maximum_inputs // CONFIG.activation_lanes
    for beats in (longest + 1, 3, 2 * longest, longest, 1, longest + 2, 2):
        bench.send(random_bits("random", "fp16", beats), "fp16")
    await bench.finish()
    assert consecutive(taken)
    bench.errors.expect({"error_long": 3})
    coverage_rate.hit(over="cut vectors")


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"), spacing=SPACINGS)
async def too_long(dut: Any, stalls: str, spacing: str) -> None:
    """A vector ends at ``maximum_inputs``; the rest is dropped, counted, and the next one is whole."""
    bench = Bench(await reset(dut, cycle_limit=100_000), stalls)
    longest, group = CONFIG.maximum_inputs // CONFIG.activation_lanes, CONFIG.group // CONFIG.activation_lanes
    extras = (0, 1, 3, longest - 1, longest, 2 * longest + 1, 0)
    lengths = [beats for extra in extras for beats in (longest + extra, 1, group, longest + extra)]
    acts = [lambda beats=beats: bench.send(random_bits("close", "bf16", beats), "bf16") for beats in lengths]
    await send_spaced(bench.domain, (bench.source,), acts, spacing)
    await bench.finish()
    bench.errors.expect({"error_long": sum(beats > longest for beats in lengths)}, spacing)


@cocotb.test()
@cocotb.parametrize(cycles=(1, 3, 6, 10, 17, 40))
async def reset_forgets(dut: Any, cycles: int) -> None:
    """A reset in the middle of a group leaves nothing behind."""
    bench = Bench(await reset(dut, cycle_limit=10_000))
    longest = CONFIG.maximum_inputs // CONFIG.activation_lanes
    bench.send(random_bits("special", "bf16", longest), "bf16")
    await bench.domain.cycles(cycles)
    await bench.reset()
    assert dut.aligned_valid.value == 0
    for kind in KINDS:
        bench.send(random_bits(kind, "fp16", 3), "fp16")
    await bench.finish()
