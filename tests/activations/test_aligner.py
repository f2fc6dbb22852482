"""The golden aligner against exact fractions, and the circuit against the golden aligner."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from golden.activations.aligner import FORMATS, Aligned, FloatFormat, align
from golden.numbers import floats
from hw.activations.aligner import Aligner
from hw.config import Config
from sim import runner

SMALL: dict[str, Any] = {
    "rows": 4,
    "lanes": 4,
    "group": 32,
    "activation_lanes": 4,
    "maximum_inputs": 64,
    "memory_bits": 64,
}
SHAPES: dict[str, dict[str, Any]] = {
    "two_columns": {"columns": 2, "activation_bits": 8, "activation_lanes": 2, "group": 16},
    "whole_group_a_beat": {"lanes": 16, "activation_lanes": 16, "group": 16, "activation_bits": 16},
    "four_lengths": {
        "lanes": 8,
        "activation_lanes": 8,
        "group": 128,
        "maximum_inputs": 384,
        "activation_bits": 11,
    },
    "one_lane": {"activation_lanes": 1, "maximum_inputs": 32},
    "tf32": {"attention": True},
}
EVERY_PATTERN = np.arange(65536).astype(np.uint16)


def exact(bits: int, format: str) -> Fraction:
    """Value of a finite pattern."""
    if format == "fp16":
        return Fraction(float(np.uint16(bits).view(np.float16)))
    return Fraction(float((np.uint32(bits) << 16).view(np.float32)))


def finite(bits: np.ndarray, format: str) -> np.ndarray:
    """Which patterns are neither NaN nor infinity."""
    layout = FORMATS[format]
    return bits >> layout.fraction_bits & layout.special != layout.special


def check_group(bits: np.ndarray, aligned: Aligned, group: int) -> None:
    """Recompute one whole group with fractions, from nothing but the elements' values."""
    limit = (1 << aligned.activation_bits - 1) - 1
    values = [
        exact(pattern, aligned.format) if known else Fraction(0)
        for pattern, known in zip(bits.tolist(), finite(bits, aligned.format), strict=True)
    ]
    smallest_normal = 1 - FORMATS[aligned.format].bias
    largest = max((abs(value) for value in values), default=Fraction(0))
    top = smallest_normal
    while Fraction(2) ** (top + 1) <= largest:
        top += 1
    unit = Fraction(2) ** (top - (aligned.activation_bits - 2))
    expected = [max(-limit, min(limit, round(value / unit))) for value in values]  # round: ties to even
    assert aligned.integers[group].tolist() == expected
    assert Fraction(2) ** int(aligned.unit_exponents[group, 0]) == unit
    assert aligned.sums[group, 0] == sum(expected)


@pytest.mark.quick
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_golden_against_fractions(format: str, bits: int) -> None:
    """Random, close and subnormal groups of all lengths, with NaN and infinity among them."""
    rng = np.random.default_rng(bits)
    for _ in range(16):
        patterns = rng.integers(0, 65536, (8, rng.integers(1, 9))).astype(np.uint16)
        spread = rng.integers(1, 6) << FORMATS[format].fraction_bits
        patterns[4:] = patterns[4:, :1] ^ rng.integers(0, spread, patterns[4:].shape).astype(np.uint16)
        patterns[6:] &= 0x8000 | (1 << FORMATS[format].fraction_bits) - 1
        aligned = align(patterns, format, 8, bits)
        for group, row in enumerate(patterns):
            check_group(row, aligned, group)
        assert (aligned.special == ~finite(patterns, format).all(axis=1)).all()


def numbers(bits: np.ndarray, format: str) -> np.ndarray:
    """Values in float64, 0 for NaN and infinity."""
    words = bits.astype(np.uint32) << 16
    values = bits.view(np.float16) if format == "fp16" else words.view(np.float32)
    return np.where(finite(bits, format), values, 0).astype(np.float64)


@pytest.mark.quick
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bits", range(8, 17))
def test_golden_every_pattern(bits: int, format: str) -> None:
    """Alone, and beside a power of two some places above that all, some or one of its bits remain, or none.

    float64 holds every value and its ratio to any unit exactly: rint is the rounding to nearest even.
    """
    layout, limit = FORMATS[format], (1 << bits - 1) - 1
    fields = np.maximum(EVERY_PATTERN >> layout.fraction_bits & layout.special, 1)
    known = finite(EVERY_PATTERN, format)
    for above in (None, 1, 2, bits - 3, bits - 2, bits - 1, bits, 30, layout.special):
        neighbours = np.minimum(fields + (above or 0), layout.special - 1) << layout.fraction_bits
        pairs = np.stack([EVERY_PATTERN, neighbours], 1).astype(np.uint16)[:, : 1 if above is None else 2]
        aligned = align(pairs, format, 2, bits)
        values = numbers(pairs, format)
        exponents = np.frexp(np.abs(values).max(1))[1] - 1  # of the largest magnitude's leading bit
        units = np.maximum(exponents, 1 - layout.bias) - (bits - 2)
        units[~values.any(1)] = 1 - layout.bias - (bits - 2)
        expected = np.clip(np.rint(np.ldexp(values, -units[:, None])), -limit, limit)
        assert (aligned.integers == expected).all()
        assert (aligned.unit_exponents[:, 0] == units).all()
        assert (aligned.sums[:, 0] == expected.sum(1)).all()
        assert (aligned.special == ~known).all()


@pytest.mark.quick
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bits", range(8, 17))
def test_golden_saturates_where_rounding_would_carry(bits: int, format: str) -> None:
    """All fraction bits set round up to 2**(A - 1) if A - 2 bits do not hold them, and never otherwise."""
    fraction_bits = FORMATS[format].fraction_bits
    one = FORMATS[format].bias << fraction_bits
    pattern = one | (1 << fraction_bits) - 1
    (full,) = align(np.array([pattern], np.uint16), format, 1, bits).integers
    if bits - 2 < fraction_bits:
        assert full == (1 << bits - 1) - 1
    else:
        assert full == (2 << bits - 2) - (1 << bits - 2 - fraction_bits)
    (power,) = align(np.array([one | 0x8000], np.uint16), format, 1, bits).integers
    assert power == -(1 << bits - 2)


@pytest.mark.quick
def test_golden_groups() -> None:
    """Groups of a long vector are aligned apart from each other, the last one may be short."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 0x7F80, (2, 3, 70)).astype(np.uint16)
    whole = align(patterns, "bf16", 32, 12)
    assert whole.exponents.shape == whole.sums.shape == (2, 3, 3)
    for group, start in enumerate(range(0, 70, 32)):
        part = align(patterns[..., start : start + 32], "bf16", 32, 12)
        assert (part.integers == whole.integers[..., start : start + 32]).all()
        assert (part.exponents[..., 0] == whole.exponents[..., group]).all()
        assert (part.sums[..., 0] == whole.sums[..., group]).all()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4), "fp16", 4, 12), r"^bits must be uint16 \[\.\.\., C >= 1\], not float64 \[4\]$"),
        (
            (np.zeros(0, np.uint16), "fp16", 4, 12),
            r"^bits must be uint16 \[\.\.\., C >= 1\], not uint16 \[0\]$",
        ),
        ((np.zeros(4, np.uint16), "fp8", 4, 12), r"^format 'fp8' must be one of fp16, bf16, tf32$"),
        ((np.zeros(4, np.uint16), "fp16", 0, 12), r"^group 0 must be at least 1$"),
        ((np.uint16(4), "fp16", 4, 12), r"^bits must be uint16 \[\.\.\., C >= 1\], not uint16 \[\]$"),
        ((np.zeros(4, np.uint16), "fp16", 4, 7), r"^activation_bits 7 must be 8\.\.16$"),
        ((np.zeros(4, np.uint16), "fp16", 4, 17), r"^activation_bits 17 must be 8\.\.16$"),
    ],
)
def test_golden_rejects(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align(*arguments)


@pytest.mark.quick
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("narrow", FORMATS)
def test_golden_tf32(narrow: str, bits: int, rng: np.random.Generator) -> None:
    """Numbers of the narrow formats align as they do there; others as exact fractions do."""
    layout = FloatFormat(8, 10)
    patterns = rng.integers(0, 65536, (64, 8)).astype(np.uint16)
    patterns[::2] = patterns[::2, :1] ^ rng.integers(0, 8192, (32, 8)).astype(np.uint16)
    patterns = patterns[finite(patterns, narrow).all(1)]
    same = align(patterns, narrow, 8, bits)
    wide = align(floats.encode(floats.decode(patterns, narrow), "tf32"), "tf32", 8, bits)
    normal = (patterns >> FORMATS[narrow].fraction_bits & FORMATS[narrow].special > 0).any(1)
    assert (wide.integers == same.integers)[normal].all()
    assert (wide.unit_exponents == same.unit_exponents)[normal].all()
    words = rng.integers(0, 1 << 19, (64, 8)).astype(np.uint32)
    words[::2] = words[::2, :1] ^ rng.integers(0, 1 << 14, (32, 8)).astype(np.uint32)
    known = words >> 10 & 255 != 255
    aligned = align(words, "tf32", 8, bits)
    assert (aligned.special == ~known.all(1)).all()
    values = np.where(known, (words << 13).view(np.float32), 0)
    for group, row in enumerate(values.astype(np.float64)):
        largest, limit = np.abs(row).max(), (1 << bits - 1) - 1
        unit = np.ldexp(1.0, max(np.frexp(largest)[1] - 1, 1 - layout.bias) - (bits - 2))
        assert aligned.integers[group].tolist() == np.clip(np.rint(row / unit), -limit, limit).tolist()
        assert np.ldexp(1.0, aligned.unit_exponents[group, 0]) == unit


def run_bench(fields: dict[str, Any], simulator: str, tests: str | None = None, sweep: bool = False) -> None:
    config = SMALL | fields
    values = {"config": config, "sweep": sweep}
    runner.run(
        Aligner(Config.model_validate(config)), "sim.benches.activations.aligner", simulator, values, tests
    )


def test_circuit(simulator: str) -> None:
    run_bench({}, simulator)


@pytest.mark.parametrize("shape", SHAPES)
def test_circuit_shapes(simulator: str, shape: str) -> None:
    run_bench(SHAPES[shape], simulator)


@pytest.mark.parametrize("bits", range(8, 17))
def test_circuit_every_pattern(bits: int) -> None:
    """On Icarus, which needs no build; the circuits of a few lanes run fastest there."""
    simulator = "icarus" if runner.available("icarus") is None else "verilator"
    run_bench({"columns": 2, "activation_bits": bits}, simulator, "every_pattern", sweep=True)
