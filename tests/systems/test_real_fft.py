"""The fixed-point transform next to float64's: error, dot products of columns, both ends of float16."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.attention import page, scores
from golden.kv.formats import Format
from golden.numbers.numerics import Numerics
from golden.systems import vidkv
from golden.systems.vidkv import real_fft

pytestmark = pytest.mark.quick

LIMIT = 1e-3
"""Of the largest magnitude of the half spectrum."""
SMALLEST = 2.0**-24
COUNT = 500

each_length = pytest.mark.parametrize("length", real_fft.LENGTHS)


def exact_columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the float64 transform, and the largest magnitude of each spectrum."""
    spectrum = np.fft.rfft(x.astype(np.float64))
    pairs = np.stack([spectrum.real, spectrum.imag], -1)
    columns = pairs[..., :-1, :].reshape(x.shape)
    columns[..., 1] = spectrum[..., -1].real
    return columns, np.abs(spectrum).max(-1, keepdims=True)


def weights(length: int) -> np.ndarray:
    """How many columns of the full spectrum each column of a query stands for."""
    return np.where(np.arange(length) < 2, 1, 2)


def vectors(kind: str, length: int, rng: np.random.Generator) -> np.ndarray:
    """Many vectors, ``[COUNT, length]`` of float16."""
    shape = COUNT, length
    place = np.arange(length)
    if kind == "normal":
        x = rng.standard_normal(shape) * 8
    elif kind == "outlier":
        x = rng.standard_normal(shape) * 2.0 ** -rng.integers(1, 14, (COUNT, 1))
        x[np.arange(COUNT), rng.integers(0, length, COUNT)] = 1
    elif kind == "aligned away":  # all but one element lose the same part of a unit
        x = np.broadcast_to(2.0**-7 * (1 + rng.random((COUNT, 1))), shape).copy()
        x[:, 0] = 1
    elif kind == "square waves":
        waves = rng.integers(0, length // 2 + 1, (COUNT, 1))
        x = np.sign(np.cos(2 * np.pi * waves * place / length + rng.random((COUNT, 1)) * 7)) * 1.999
    elif kind == "exponents":
        x = rng.standard_normal(shape) * 2.0 ** rng.integers(-14, 0, shape)
    elif kind == "subnormal":
        x = rng.integers(-3, 4, shape) * 2.0**-24
    else:
        x = rng.choice([65504.0, -65504.0], shape)
    return x.astype(np.float16)


KINDS = ("normal", "outlier", "aligned away", "square waves", "exponents", "subnormal", "largest")


@each_length
@pytest.mark.parametrize("kind", KINDS)
def test_error(rng: np.random.Generator, kind: str, length: int) -> None:
    x = vectors(kind, length, rng)
    expected, largest = exact_columns(x)
    keys = real_fft.columns(x, "key").astype(np.float64)
    assert (np.abs(keys - expected / length) <= LIMIT * largest / length + SMALLEST).all()
    if kind != "largest":
        queries = real_fft.columns(x, "query").astype(np.float64)
        weight = weights(length)
        assert (np.abs(queries - expected * weight) <= weight * (LIMIT * largest + SMALLEST)).all()
    if kind in ("normal", "outlier"):  # not by chance far below the limit: float16 itself needs a quarter
        worst = (np.abs(keys - expected / length) / (largest / length)).max()
        assert worst > LIMIT / 5


@each_length
@pytest.mark.parametrize("kind", ["normal", "outlier", "exponents"])
def test_scores_are_those_of_elements(rng: np.random.Generator, kind: str, length: int) -> None:
    """Parseval: nothing but rounding lies between the dot products."""
    keys, queries = vectors(kind, length, rng), vectors("normal", length, rng)
    expected = (keys.astype(np.float64) * queries).sum(1)
    transformed = [
        real_fft.columns(x, side).astype(np.float64) for x, side in ((keys, "key"), (queries, "query"))
    ]
    found = (transformed[0] * transformed[1]).sum(1)
    norms = [np.linalg.norm(x.astype(np.float64), axis=1) for x in (keys, queries)]
    # Rounding of float16's columns alone gives 2^-12 of both norms at worst.
    assert (np.abs(found - expected) <= LIMIT * norms[0] * norms[1]).all()
    # Without the weights of a query the dot product is another one.
    unweighted = (transformed[0] * transformed[1] / weights(length)).sum(1)
    assert np.median(np.abs(unweighted - expected) / (norms[0] * norms[1])) > 20 * LIMIT


@each_length
def test_cosines_alone(length: int) -> None:
    """Rounded cosines err by less than 1e-3 of a vector's norm, which no largest magnitude is below."""
    one = np.float16(2.0**9)  # so that rounding of words does not matter
    found = real_fft._packed(real_fft._complex_transform(np.eye(length, dtype=np.int64) << 30))
    expected, _ = exact_columns(np.eye(length) * one)
    error = found / 2.0**30 - expected / float(one)
    assert np.linalg.norm(error, axis=0).max() < 0.7 * LIMIT


@given(st.integers(0, 2**32 - 1), st.sampled_from(real_fft.LENGTHS), st.sampled_from(real_fft.SIDES))
@settings(max_examples=60, deadline=None)
def test_any_float16(seed: int, length: int, side: str) -> None:
    """Finite whatever comes in, within the bound or at float16's end."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 0x7C00, (8, length)) | rng.integers(0, 2, (8, length)) << 15
    x = bits.astype(np.uint16).view(np.float16)
    found = real_fft.columns(x, side).astype(np.float64)
    expected, largest = exact_columns(x)
    weight = weights(length) if side == "query" else np.full(length, 1 / length)
    wanted = np.clip(expected * weight, -65504, 65504)
    assert (np.abs(found - wanted) <= weight * LIMIT * largest + np.maximum(weight, 1) * SMALLEST).all()


def test_ends_of_float16() -> None:
    """A constant is one column; one element is all of them."""
    for value in 65504.0, 2.0**-24, -(2.0**-18):
        keys = real_fft.columns(np.full(64, value), "key")
        assert keys[0] == np.float16(value)
        assert not keys[1:].any()
    assert (real_fft.columns(np.full(64, 65504.0), "query")[:2] == (65504, 0)).all()  # not infinite
    one = real_fft.columns(np.eye(64)[0], "query")
    np.testing.assert_array_equal(one, [1, 1, *[2, 0] * 31])
    assert not real_fft.columns(np.zeros((2, 3, 32)), "key").any()


def test_refused_arguments() -> None:
    for x, side in (
        (np.zeros(16), "key"),
        (np.zeros(64), "value"),
        (np.full(64, np.inf), "key"),
        (0.0, "key"),
    ):
        with pytest.raises(ValueError, match="must"):
            real_fft.columns(x, side)


def test_scores_of_two_pages_add(rng: np.random.Generator) -> None:
    """A key as a page of 2-bit channels and one of 1-bit columns: scores of both are the whole key's.

    Next to float64 on the keys that these codes stand for, which an inverse transform gives.
    """
    channels, tokens = 128, 32
    k = (rng.standard_normal((1, tokens, channels)) * 2.0 ** rng.integers(-2, 3, channels)).astype(np.float16)
    q = rng.standard_normal((4, channels)).astype(np.float16)
    mask = vidkv.channel_mask(k, 0.5)
    two, one = Format("native", 2, "channel", 32), Format("sign", 1, "channel", 32)
    columns = real_fft.columns(k[0][:, ~mask], "key")
    codes = [two.quantize(k[0][:, mask]), one.quantize(columns)]
    query = scores.fold(np.concatenate([q[:, mask], real_fft.columns(q[:, ~mask], "query")], 1))
    pages = [page.read(form, own) for form, own in zip((two, one), codes, strict=True)]
    found = scores.scores(query, pages, 30, Numerics())
    spectrum = one.decode(codes[1]).astype(np.float64)
    pairs = np.concatenate([spectrum, np.zeros((tokens, 2))], 1)
    pairs[:, -2], pairs[:, 1] = pairs[:, 1], 0
    restored = np.empty((tokens, channels))
    restored[:, mask] = two.decode(codes[0])
    restored[:, ~mask] = np.fft.irfft((pairs[:, ::2] + 1j * pairs[:, 1::2]) * 64, 64)
    exact = q.astype(np.float64) @ restored.T * np.log2(np.e) / np.sqrt(channels)
    error = found / 2.0**12 - exact
    assert np.sqrt((error**2).mean() / (exact**2).mean()) < 3e-3
