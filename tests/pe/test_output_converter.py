"""Output converter: the golden rounding against NumPy's casts and fractions, the circuit against it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golden.numbers import floats
from golden.pe.output_converter import FORMATS, convert
from hw.config import Config, preset
from hw.pe.output_converter import OutputConverter
from sim import runner

NATIVE = {"fp16": (np.float16, np.uint16), "fp32": (np.float32, np.uint32)}
EXACT_IN_FLOAT64 = st.integers(-(2**53), 2**53) | st.integers(-(2**27), 2**27) | st.integers(-300, 300)
INTEGERS = EXACT_IN_FLOAT64 | st.integers(-(2**60) + 1, 2**60 - 1)
LONG = Config(rows=4, lanes=4, group=32, accumulator_bits=48, memory_bits=64)
SHORT = Config(rows=4, lanes=4, group=32, accumulator_bits=24, memory_bits=64)
BENCH = "sim.benches.pe.output_converter"


def converted(value: int, exponent: int, name: str) -> tuple[int, bool]:
    """Golden conversion of one finite number."""
    pattern, overflow = convert(np.array([value]), np.array([exponent]), np.array([False]), name)
    return int(pattern[0]), bool(overflow[0])


def nearest(exact: Fraction, name: str) -> int:
    """Pattern of the nearest number of a format by its definition; ties to the even pattern."""
    form = FORMATS[name]
    magnitude, sign = abs(exact), (exact < 0) << form.sign_place
    low, high = 0, form.infinity

    def value(pattern: int) -> Fraction:
        field, fraction = divmod(pattern, 1 << form.precision - 1)
        significand = fraction + ((field > 0) << form.precision - 1)
        return significand * Fraction(2) ** (max(field, 1) - form.bias - form.precision + 1)

    if magnitude >= value(high):
        return high | sign
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) <= magnitude else (low, middle)
    down, up = magnitude - value(low), value(high) - magnitude
    return (high if up < down or (up == down and low & 1) else low) | sign


@pytest.mark.quick
@pytest.mark.parametrize("name", NATIVE)
@given(value=EXACT_IN_FLOAT64, exponent=st.integers(-210, 130))
def test_matches_native_cast(name: str, value: int, exponent: int) -> None:
    """Both casts round an exact float64 once; a zero has no sign here."""
    kind, bits = NATIVE[name]
    with np.errstate(over="ignore", under="ignore"):
        cast = np.ldexp(np.float64(value), exponent).astype(kind)
    pattern, overflow = converted(value, exponent, name)
    assert pattern == int(cast.view(bits))
    assert overflow == bool(np.isinf(cast))


@pytest.mark.quick
@pytest.mark.parametrize("name", FORMATS)
@given(value=INTEGERS, exponent=st.integers(-210, 130))
@example(value=0, exponent=0)
@example(value=(1 << 9) - 1, exponent=119)  # BF16: rounds up to infinity
@example(value=(1 << 8) - 1, exponent=120)  # BF16: the largest number
@example(value=1, exponent=-134)  # BF16: half of the smallest, to zero
@example(value=3, exponent=-135)  # BF16: three quarters of it, up
@example(value=65519, exponent=0)  # FP16: just not infinite
@example(value=65520, exponent=0)
@example(value=2**60 - 1, exponent=-60)
@example(value=1 - 2**60, exponent=2000)
def test_matches_definition(name: str, value: int, exponent: int) -> None:
    pattern, overflow = converted(value, exponent, name)
    assert pattern == nearest(value * Fraction(2) ** exponent, name)
    assert overflow == (pattern & (1 << FORMATS[name].sign_place) - 1 == FORMATS[name].infinity)


@pytest.mark.quick
@pytest.mark.parametrize("name", FORMATS)
def test_every_shift_of_the_largest_sums(name: str) -> None:
    """From beyond the largest number down past the smallest: shifts to either side and beyond 64 places."""
    lowest = 2 - FORMATS[name].bias - FORMATS[name].precision
    for value in 1, -1, 2**59 - 1, 2**59, -(2**59) - 1, 2**60 - 1, 1 - 2**60:
        for exponent in (*range(lowest - 70, lowest + 12), *range(60, 130), -1000, 1000):
            assert converted(value, exponent, name)[0] == nearest(value * Fraction(2) ** exponent, name)


@pytest.mark.quick
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("distance", [1, 2, 7])
def test_ties(name: str, distance: int) -> None:
    """Half-way values go to the even neighbour at any distance below the lowest kept bit."""
    precision = FORMATS[name].precision
    for significand in range(1 << precision - 1, (1 << precision - 1) + 9):
        value = (significand << distance) + (1 << distance - 1)
        even = significand + (significand & 1)
        assert converted(value, -10, name) == converted(even << distance, -10, name)


def neighbours(name: str) -> np.ndarray:
    """Finite patterns: all of a 16-bit format, of FP32 those around every power of two and random ones."""
    form = FORMATS[name]
    if form.sign_place < 16:
        return np.arange(form.infinity, dtype=np.int64)
    powers = np.arange(form.exponent_bits << form.precision - 1, form.infinity, 1 << form.precision - 1)
    powers = np.concatenate([[0, 1 << form.precision - 1], 1 << np.arange(form.precision - 1), powers])
    near = (powers[:, None] + np.arange(-3, 4)).ravel()
    patterns = np.concatenate([near, np.random.default_rng(5).integers(0, form.infinity, 30_000)])
    return patterns[(patterns >= 0) & (patterns < form.infinity)]


@pytest.mark.quick
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_boundary(name: str, negative: bool) -> None:
    """Between each number and the next: the lower one, just below half way, half way, just above it."""
    form, patterns = FORMATS[name], neighbours(name)
    fields, fractions = np.divmod(patterns, 1 << form.precision - 1)
    significands = fractions + ((fields > 0) << form.precision - 1)
    exponents = np.maximum(fields, 1) - form.bias - form.precision + 1
    sign = -1 if negative else 1
    for quarters, expected in (
        (0, patterns),
        (1, patterns),
        (2, patterns + (patterns & 1)),
        (3, patterns + 1),
    ):
        values = 4 * significands + quarters
        got, overflow = convert(sign * values, exponents - 2, np.array(False), name)
        signs = ((values > 0) & negative).astype(np.int64) << form.sign_place
        assert np.array_equal(got, expected | signs)
        assert np.array_equal(overflow, expected == form.infinity)


@pytest.mark.quick
def test_unknown_format() -> None:
    with pytest.raises(ValueError, match=r"^format 'fp8' must be one of fp16, bf16, fp32$"):
        convert(np.array([1]), np.array([0]), np.array([False]), "fp8")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "infinity", "nan"),
    [("fp16", 0x7C00, 0x7E00), ("bf16", 0x7F80, 0x7FC0), ("fp32", 0x7F800000, 0x7FC00000)],
)
def test_patterns_of_specials(name: str, infinity: int, nan: int) -> None:
    assert (FORMATS[name].infinity, FORMATS[name].nan) == (infinity, nan)
    assert (1 << FORMATS[name].sign_place) & (infinity | nan) == 0
    assert floats.encode(np.float32(np.inf), name) == infinity
    assert floats.encode(np.float32(np.nan), name) == nan


@pytest.mark.quick
@pytest.mark.parametrize("name", FORMATS)
def test_special_is_canonical_nan(name: str) -> None:
    """NaN whatever the value, also where it would overflow; never an overflow, never a sign."""
    values = np.array([0, 1, -1, 2**40, -(2**40)])
    patterns, overflow = convert(values, np.array(500), np.array(True), name)
    assert set(patterns.tolist()) == {FORMATS[name].nan}
    assert not overflow.any()
    assert np.isnan(floats.decode(patterns, name)).all()


@pytest.mark.quick
def test_output_converter(simulator: str) -> None:
    config, count = preset("tiny"), 2500 if simulator == "verilator" else 800
    parameters = {"config": config.model_dump(), "count": count}
    runner.run(OutputConverter(config), BENCH, simulator, parameters)


@pytest.mark.parametrize("config", [LONG, SHORT], ids=["long", "short"])
def test_other_widths(config: Config) -> None:
    """48 bits, and 24: as few as FP32's significand."""
    runner.run(OutputConverter(config), BENCH, "verilator", {"config": config.model_dump(), "count": 1500})
