"""The golden aligner against exact fractions, and the circuit against the golden aligner."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from golden.activations.aligner import FORMATS, Aligned, align
from hw.activations.aligner import Aligner
from hw.config import Config
from sim import runner

SMALL: dict[str, Any] = {
    "rows": 4,
    "lanes": 4,
    "group": 16,
    "activation_lanes": 4,
    "maximum_inputs": 64,
    "word_bits": 64,
}
SHAPES: dict[str, dict[str, Any]] = {
    "two_columns": {"columns": 2, "activation_bits": 8, "activation_lanes": 2, "group": 8},
    "whole_group_a_beat": {"lanes": 16, "activation_lanes": 16, "activation_bits": 16},
    "odd_group": {
        "lanes": 8,
        "activation_lanes": 8,
        "group": 24,
        "maximum_inputs": 72,
        "activation_bits": 11,
    },
    "one_lane": {"activation_lanes": 1, "maximum_inputs": 32},
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
    for _ in range(40):
        patterns = rng.integers(0, 65536, (8, rng.integers(1, 9))).astype(np.uint16)
        spread = rng.integers(1, 6) << FORMATS[format].fraction_bits
        patterns[4:] = patterns[4:, :1] ^ rng.integers(0, spread, patterns[4:].shape).astype(np.uint16)
        patterns[6:] &= 0x8000 | (1 << FORMATS[format].fraction_bits) - 1
        aligned = align(patterns, format, 8, bits)
        for group, row in enumerate(patterns):
            check_group(row, aligned, group)
        assert (aligned.special == ~finite(patterns, format).all(axis=1)).all()


@pytest.mark.quick
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_golden_every_fp16_pattern(bits: int) -> None:
    """Alone, an element keeps its leading bits; float64 holds every FP16 value and its ratio exactly."""
    aligned = align(EVERY_PATTERN[:, None], "fp16", 16, bits)
    known = finite(EVERY_PATTERN, "fp16")
    values = EVERY_PATTERN[known].view(np.float16).astype(np.float64)
    scaled = np.ldexp(values, -aligned.unit_exponents[known, 0])
    limit = (1 << bits - 1) - 1
    assert (aligned.integers[known, 0] == np.clip(np.rint(scaled), -limit, limit)).all()
    assert (aligned.integers[~known] == 0).all()
    assert (aligned.special == ~known).all()
    assert (aligned.exponents >= 1).all()
    assert (aligned.exponents <= 30).all()
    normal = np.abs(values) >= 2.0**-14
    errors = np.abs(aligned.integers[known, 0] - scaled)[normal] / np.abs(scaled[normal])
    assert errors.max() <= 2.0 ** -(bits - 1) if bits < 12 else errors.max() == 0


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
        ((np.zeros(4, np.uint16), "fp8", 4, 12), r"^format 'fp8' must be one of fp16, bf16$"),
        ((np.zeros(4, np.uint16), "fp16", 0, 12), r"^group 0 must be at least 1$"),
        ((np.zeros(4, np.uint16), "fp16", 4, 7), r"^activation_bits 7 must be 8\.\.16$"),
    ],
)
def test_golden_rejects(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align(*arguments)


def run_bench(fields: dict[str, Any], simulator: str, tests: str, **parameters: int) -> None:
    config = SMALL | fields
    values = {"config": config, **parameters}
    runner.run(
        Aligner(Config.model_validate(config)), "sim.benches.activations.aligner", simulator, values, tests
    )


@pytest.mark.quick
def test_circuit(simulator: str) -> None:
    run_bench({}, simulator, "equals_golden|no_bubbles|too_long|reset_forgets")


@pytest.mark.parametrize("shape", SHAPES)
def test_circuit_shapes(simulator: str, shape: str) -> None:
    run_bench(SHAPES[shape], simulator, "equals_golden|no_bubbles|too_long|reset_forgets")


@pytest.mark.parametrize(("bits", "step"), [(8, 13), (12, 1), (16, 13)])
def test_circuit_patterns(simulator: str, bits: int, step: int) -> None:
    """Every pattern of both formats at 12 bits, a sample at the others; eight at a time, a column each."""
    run_bench({"activation_bits": bits, "columns": 8}, simulator, "exhaustive", step=step)
