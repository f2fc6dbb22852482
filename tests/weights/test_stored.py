"""Stored matrices: the quantised form is the same numbers, whatever the signs, zeros, groups and formats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.numbers import datatypes
from golden.weights import layout
from golden.weights.quantized import quantize
from golden.weights.stored import Inexact, Stored, packable

pytestmark = pytest.mark.quick

TABLE = datatypes.table("nf", (-127, -96, -70, -51, -35, -21, -9, 0, 10, 21, 33, 46, 60, 77, 98, 127))


def made(seed: int, bits: int, group: int, signs: bool, far: int, kind: str) -> Stored:
    """A random matrix of 5 x 160; ``far`` spreads the exponents of its scales."""
    rng = np.random.default_rng(seed)
    shape = (5, -(-160 // group))
    scale = np.ldexp(rng.integers(1024, 2048, shape).astype(np.float32), rng.integers(-far, 1, shape) - 8)
    scale[rng.random(shape) < 0.1] = 0
    if signs:
        scale *= rng.choice([-1, 1], shape).astype(np.float32)
    codes = rng.integers(0, 1 << bits, (5, 160)).astype(np.uint8)
    if kind == "zero":
        return Stored(codes, scale, group, bits, zero=rng.integers(0, (1 << bits) + 1, shape))
    offset = np.ldexp(rng.integers(-2047, 2048, shape).astype(np.float32), -far)
    return Stored(codes, scale, group, bits, offset=offset)


@given(
    st.integers(0, 1 << 32),
    st.integers(2, 8),
    st.sampled_from((16, 32, 64, 128, 160, 256)),
    st.booleans(),
    st.integers(0, 20),
    st.sampled_from(("zero", "offset")),
    st.sampled_from((128, 32)),
)
def test_integers(seed: int, bits: int, group: int, signs: bool, far: int, kind: str, longest: int) -> None:
    matrix = made(seed, bits, group, signs, far, kind)
    q = matrix.quantized(longest)
    real = spread(matrix.scale, group) * matrix.codes.astype(np.float64)
    if kind == "zero":
        real -= spread(matrix.scale, group) * spread(matrix.zero, group).astype(np.float64)
    else:
        real += spread(matrix.offset, group)
    np.testing.assert_array_equal(q.dequantize(), real)
    np.testing.assert_array_equal(matrix.array(), real.astype(np.float32))
    assert q.group <= longest or (group == 160 and longest < 160 and matrix.scale.shape[1] > 1)
    if bits < 8:
        np.testing.assert_array_equal(layout.unpack(layout.pack(q)).dequantize(), real)


def spread(per_group: object, group: int) -> np.ndarray:
    return np.repeat(np.asarray(per_group, np.float64), group, 1)[:, :160]


@pytest.mark.parametrize(
    "dtype", [datatypes.get("ternary"), datatypes.get("e2m1"), TABLE], ids=lambda d: d.name
)
def test_tables(dtype: datatypes.DataType, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 3 if dtype.name == "ternary" else 16, (6, 64)).astype(np.uint8)
    scale = (rng.integers(1024, 2048, (6, 4)) * rng.choice([-1, 1], (6, 4))).astype(np.float32)
    matrix = Stored(codes, scale, 16, dtype=dtype)
    real = np.repeat(scale, 16, 1) * dtype.values()[codes]
    np.testing.assert_array_equal(matrix.array(), real)
    q = matrix.quantized()
    assert q.dtype is dtype
    np.testing.assert_array_equal(q.dequantize(), real)
    packed = layout.unpack(layout.pack(packable(q)))
    np.testing.assert_array_equal(packed.dequantize(), real)


def test_a_table_quantises_too(rng: np.random.Generator) -> None:
    """The nearest values, of whichever sign fits a group better."""
    weights = rng.standard_normal((8, 128)).astype(np.float32)
    error = [
        np.square(quantize(weights, kind, 32, "fp16", "clip").dequantize() - weights).mean()
        for kind in (TABLE, "int4")
    ]
    assert error[0] < error[1]


def test_a_table_has_16_values() -> None:
    with pytest.raises(ValueError, match=r"values \(1, 2\) of x must be 16 within -127\.\.127"):
        datatypes.table("x", (1, 2))
    with pytest.raises(ValueError, match="must be 16 within"):
        datatypes.table("x", range(115, 131))


@pytest.mark.parametrize(
    ("scale", "form", "message"),
    [
        ([1.0, np.nan], "fp16", "scales and offsets must be finite"),
        ([1.0, np.inf], "fp16", "scales and offsets must be finite"),
        ([1.0, 1 + 2.0**-11], "fp16", "scales must have at most 11 significant bits"),
        ([1.0, 1.0625], "e4m3", "scales must have at most 4 significant bits"),
        ([1.0, 3.0], "e8m0", "scales must have at most 1 significant bits"),
        ([1.0, 0.0], "e8m0", "a scale of 0 is not a power of two"),
        ([1.5, 1.25 * 2.0**-40], "fp16", r"scales and offsets of a row must lie within 2\^31 of each other"),
    ],
)
def test_what_is_inexact(scale: list[float], form: str, message: str) -> None:
    matrix = Stored(np.ones((1, 32), np.uint8), np.array([scale], np.float32), 16, 4, scale_format=form)
    with pytest.raises(Inexact, match=message):
        matrix.quantized()


def test_what_is_close_enough() -> None:
    """Zeros at the end of a mantissa make room for 10 more binary places."""
    scale = np.array([[1.0, 2.0**-40]], np.float32)
    q = Stored(np.ones((1, 32), np.uint8), scale, 16, 4).quantized()
    np.testing.assert_array_equal(q.dequantize(), np.repeat(scale.astype(np.float64), 16, 1))
