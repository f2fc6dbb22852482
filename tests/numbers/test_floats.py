"""Bit patterns of floats: their definition, ml_dtypes and struct; every number below FP32, every tie."""

import math
import struct
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.numbers import floats

pytestmark = pytest.mark.quick

FIELDS = {"fp16": (5, 10), "bf16": (8, 7), "tf32": (8, 10), "fp32": (8, 23)}
"""Bits of exponent and fraction."""
SHORT = ("fp16", "bf16", "tf32")
QUIET = {"fp16": 0x7E00, "bf16": 0x7FC0, "tf32": 0x3FE00}
KIND = {"fp16": np.uint16, "bf16": np.uint16, "tf32": np.uint32, "fp32": np.uint32}
ANY_FLOAT = st.integers(0, 2**32 - 1)


def defined(patterns: np.ndarray, fmt: str) -> np.ndarray:
    """Values by IEEE 754's definition, float64; patterns from infinity on are what would come next."""
    exponent_bits, fraction_bits = FIELDS[fmt]
    field, fraction = np.divmod(
        patterns.astype(np.int64) & (1 << exponent_bits + fraction_bits) - 1, 1 << fraction_bits
    )
    significand = fraction + ((field > 0) << fraction_bits)
    magnitude = np.ldexp(
        significand.astype(float), np.maximum(field, 1) - (1 << exponent_bits - 1) + 1 - fraction_bits
    )
    return np.where(patterns >> exponent_bits + fraction_bits, -magnitude, magnitude)


def infinity(fmt: str) -> int:
    exponent_bits, fraction_bits = FIELDS[fmt]
    return (1 << exponent_bits) - 1 << fraction_bits


def sign_bit(fmt: str) -> int:
    return 1 << sum(FIELDS[fmt])


def cast(x: np.ndarray, fmt: str) -> np.ndarray:
    """Another implementation's rounding of float32, without NaN."""
    if fmt == "tf32":
        wide = np.abs(x.astype(np.float64))
        units = np.ldexp(1.0, np.maximum(np.frexp(wide)[1], -125) - 11)
        near = np.where(np.isinf(wide), wide, np.rint(wide / units) * units)
        with np.errstate(over="ignore"):
            return (np.copysign(near, x).astype(np.float32).view(np.uint32) >> 13).astype(np.uint32)
    if fmt == "bf16":
        return x.astype(ml_dtypes.bfloat16).view(np.uint16)
    patterns = []
    for value in x.tolist():
        try:
            patterns.append(int.from_bytes(struct.pack("<e", value), "little"))
        except OverflowError:
            patterns.append(0xFC00 if value < 0 else 0x7C00)
    return np.array(patterns, np.uint16)


@pytest.mark.parametrize("fmt", SHORT)
def test_every_pattern(fmt: str) -> None:
    patterns = np.arange(2 * sign_bit(fmt)).astype(KIND[fmt])
    values = floats.decode(patterns, fmt)
    assert values.dtype == np.float32
    magnitudes = patterns & sign_bit(fmt) - 1
    finite = magnitudes < infinity(fmt)
    np.testing.assert_array_equal(values[finite], defined(patterns, fmt)[finite])
    np.testing.assert_array_equal(np.signbit(values[finite]), patterns[finite] >= sign_bit(fmt))
    assert values[infinity(fmt)] == np.inf
    assert values[infinity(fmt) + sign_bit(fmt)] == -np.inf
    special = magnitudes > infinity(fmt)
    assert np.isnan(values[special]).all()
    encoded = floats.encode(values, fmt)
    assert encoded.dtype == KIND[fmt]
    np.testing.assert_array_equal(encoded[~special], patterns[~special])
    np.testing.assert_array_equal(encoded[special], QUIET[fmt])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("fmt", SHORT)
def test_between_every_number_and_the_next(fmt: str, sign: int) -> None:
    """A quarter, half and three quarters of the way and both neighbours of the half, infinity as the last."""
    patterns = np.arange(infinity(fmt))
    low, high = defined(patterns, fmt), defined(patterns + 1, fmt)
    middle = ((low + high) / 2).astype(np.float32)
    assert (middle == (low + high) / 2).all(), "the middle is a float32"
    for x, expected in (
        ((3 * low + high) / 4, patterns),
        (np.nextafter(middle, np.float32(0)), patterns),
        (middle, patterns + (patterns & 1)),
        (np.nextafter(middle, np.float32(np.inf)), patterns + 1),
        ((low + 3 * high) / 4, patterns + 1),
    ):
        single = (sign * x).astype(np.float32)
        encoded = floats.encode(single, fmt)
        np.testing.assert_array_equal(encoded, expected + sign_bit(fmt) * (sign < 0))
        np.testing.assert_array_equal(encoded, cast(single, fmt))


@pytest.mark.parametrize("fmt", SHORT)
@given(st.lists(ANY_FLOAT, min_size=1, max_size=20))
def test_any_float32(fmt: str, words: list[int]) -> None:
    x = np.array(words, np.uint32).view(np.float32)
    encoded, special = floats.encode(x, fmt), np.isnan(x)
    np.testing.assert_array_equal(encoded[~special], cast(x[~special], fmt))
    np.testing.assert_array_equal(encoded[special], QUIET[fmt])


@pytest.mark.parametrize("fmt", SHORT)
@pytest.mark.parametrize("word", [0x7F800001, 0x7F80FFFF, 0x7FBFFFFF, 0x7FC00000, 0x7FFFFFFF])
@pytest.mark.parametrize("sign", [0, 0x80000000])
def test_nan_is_never_infinite_nor_finite(fmt: str, word: int, sign: int) -> None:
    """Signalling or quiet, payloads at the ends: rounding up must not carry them out of the NaNs."""
    x = np.array([word | sign], np.uint32).view(np.float32)
    assert floats.encode(x, fmt).tolist() == [QUIET[fmt]]


@given(ANY_FLOAT)
def test_fp32_is_the_pattern_itself(word: int) -> None:
    x = floats.decode(np.array([word], np.uint32), "fp32")
    assert floats.encode(x, "fp32").tolist() == [word]
    np.testing.assert_array_equal(x, np.float32(struct.unpack("<f", struct.pack("<I", word))[0]))


@pytest.mark.parametrize("fmt", FIELDS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_shapes(fmt: str, shape: tuple[int, ...]) -> None:
    """Kept, whatever the memory order; patterns may come in wider integers."""
    x = np.full(shape, 1.5, np.float32).T
    bits = floats.encode(x, fmt)
    assert bits.shape == x.shape
    assert bits.dtype == KIND[fmt]
    for wider in np.uint32, np.uint64:
        np.testing.assert_array_equal(floats.decode(bits.astype(wider), fmt), x)


@given(st.floats(width=64, min_value=2.0**-126, max_value=2.0**127), st.booleans(), st.integers(0, 41))
def test_round_tf32(value: float, negative: bool, zeros: int) -> None:
    """Of float64 at once, ties included: as Python rounds the exact fraction."""
    word = np.float64(value).view(np.int64) & -1 << zeros
    x = Fraction(float(word.view(np.float64))) * (-1 if negative else 1)
    unit = Fraction(2) ** (math.frexp(float(x))[1] - 11)
    (got,) = floats.round_tf32(np.array([float(x)]))
    assert Fraction(float(got)) == round(x / unit) * unit
    assert floats.round_tf32(np.zeros(1)).tolist() == [0.0]
    if abs(got) < 2.0**127:
        single = got.astype(np.float32)
        assert floats.decode(floats.encode(single, "tf32"), "tf32") == single == got


def test_parts_of_every_half() -> None:
    """A mantissa of eleven bits and a field from 1 on rebuild each number."""
    patterns = np.arange(1 << 16, dtype=np.uint16)
    patterns = patterns[patterns & 0x7C00 < 0x7C00]
    mantissa, field = floats.half_parts(patterns.view(np.float16))
    np.testing.assert_array_equal(np.ldexp(mantissa.astype(float), field - 25), defined(patterns, "fp16"))
    assert np.abs(mantissa).max() == 2047
    assert (field.min(), field.max()) == (1, 30)
    assert (np.abs(mantissa[field > 1]) >= 1024).all()


def test_biases() -> None:
    """One has the bias as its exponent field and no fraction."""
    for fmt, bias in floats.EXPONENT_BIAS.items():
        assert int(floats.encode(np.float32(1), fmt)) == bias << FIELDS[fmt][1]


@pytest.mark.parametrize("function", [floats.encode, floats.decode])
def test_unknown_formats(function) -> None:
    with pytest.raises(ValueError, match=r"^format 'fp8' must be one of fp16, bf16, tf32, fp32$"):
        function(np.zeros(1, np.uint16), "fp8")
