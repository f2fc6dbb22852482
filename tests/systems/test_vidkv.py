"""VidKV against its definitions: exact ranges, sums written out in float64, the full Fourier transform."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv import affine
from golden.systems import vidkv

pytestmark = pytest.mark.quick

TOKENS = (1, 31, 32, 70, 128)
SHAPES = [(1, 1, 64), (1, 33, 128), (2, 70, 64), (3, 64, 128)]


def elements(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal elements, channels of very different magnitudes, some without any range."""
    loud = 2.0 ** rng.integers(-20, 8, shape[-1])
    loud[::9] = 0
    return (rng.standard_normal(shape) * loud).astype(np.float16)


@given(st.integers(0, 2**32 - 1), st.sampled_from(SHAPES), st.integers(0, 8), st.booleans())
@settings(max_examples=40)
def test_mask(seed: int, shape: tuple[int, int, int], eighths: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 0x7C00, shape) | rng.integers(0, 2, shape) << 15
    k = words.astype(np.uint16).view(np.float16)
    if coarse:  # many channels of one range
        k = rng.choice(np.float16([-65504, 65504, 0, 65472, 2**-24]), shape)
    columns = k.astype(float).reshape(-1, shape[2]).T.tolist()
    ranges = [Fraction(max(column)) - Fraction(min(column)) for column in columns]
    order = sorted(range(shape[2]), key=lambda channel: (-ranges[channel], channel))
    expected = set(order[: shape[2] * eighths // 8])
    assert set(np.flatnonzero(vidkv.channel_mask(k, eighths / 8))) == expected


def test_mask_of_numbers_that_float64_does_not_tell_apart() -> None:
    k = np.zeros((1, 2, 64))
    k[0, :, 0] = 1e300, 1.0
    k[0, :, 63] = 1e300, 0.0
    assert np.flatnonzero(vidkv.channel_mask(k, 1 / 64)).tolist() == [63]


@pytest.mark.parametrize("length", [1, 2, 5, 32, 64, 128])
def test_transform(rng: np.random.Generator, length: int) -> None:
    """The sum as it is written."""
    x = rng.standard_normal((3, length)).astype(np.float16)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(length // 2 + 1), np.arange(length)) / length)
    expected = x.astype(np.float64) @ waves.T
    found = vidkv.transform(x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


def one_bit(x: np.ndarray, decode: str) -> np.ndarray:
    """Signs times mean magnitudes of 32 tokens, in float64: [H, T, n]."""
    mean = np.abs(x).reshape(len(x), -1, 32, x.shape[2]).mean(2).repeat(32, 1)
    return np.where(x >= 0, mean, -mean if decode == "scaled" else 0)


def full_spectrum(x: np.ndarray, decode: str) -> np.ndarray:
    """VidKV as published: all columns of the complex transform, interleaved, and the real part at the end."""
    spectrum = np.fft.fft(x, axis=-1)
    columns = np.stack([spectrum.real, spectrum.imag], -1).reshape(*x.shape[:-1], -1)
    coded = one_bit(columns, decode)
    return np.fft.ifft(coded[..., ::2] + 1j * coded[..., 1::2], axis=-1).real


def halves_agree(x: np.ndarray) -> np.ndarray:
    """Tokens [H, T] without an imaginary part of 0, whose sign is the same in both published halves."""
    length = x.shape[-1]
    columns = np.abs(np.fft.rfft(x, axis=-1).imag[..., 1 : (length + 1) // 2])
    return (columns > 1e-9 * np.abs(x).max()).all(-1)


@pytest.mark.parametrize("decode", ["published", "scaled"])
@pytest.mark.parametrize("transformed", [False, True])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_keys(rng: np.random.Generator, fraction: float, transformed: bool, decode: str) -> None:
    k = (rng.standard_normal((2, 70, 64)) * 2.0 ** rng.integers(-3, 4, 64)).astype(np.float16)
    mask = vidkv.channel_mask(k, fraction)
    found = vidkv.quantize_keys(k, mask, transform=transformed, decode=decode).decompress()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 64:], k[:, 64:].astype(np.float32))
    own, whole = k[:, :64].astype(np.float64), found[:, :64]
    groups = own[..., mask].reshape(2, 2, 32, -1)
    step = (groups.max(2) - groups.min(2)).repeat(32, 1) / 3
    assert (np.abs(whole[..., mask] - own[..., mask]) <= step * 0.502).all()
    if fraction < 1:
        normal = own[..., ~mask]
        expected = full_spectrum(normal, decode) if transformed else one_bit(normal, decode)
        compared = halves_agree(normal) if transformed else np.ones(normal.shape[:2], bool)
        assert compared.mean() > 0.8
        # With a scale rounded to 11 bits.
        difference = (whole[..., ~mask] - expected)[compared]
        assert np.abs(difference).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("length", [1, 3, 64])
def test_columns_of_odd_numbers_of_channels(rng: np.random.Generator, length: int) -> None:
    k = rng.standard_normal((1, 32, 64)).astype(np.float16)
    mask = np.arange(64) >= length
    found = vidkv.quantize_keys(k, mask).decompress()[..., :length]
    normal = k[..., :length].astype(np.float64)
    expected, compared = full_spectrum(normal, "scaled"), halves_agree(normal)
    assert compared.mean() > 0.8
    assert np.abs((found - expected)[compared]).max() <= 1e-3 * np.abs(expected).max()


def test_a_zero_counts_as_positive() -> None:
    """A token without any key among others: its columns are exactly 0."""
    k = np.ones((1, 32, 64), np.float16)
    k[0, 5] = 0
    for transformed in False, True:
        assert vidkv.quantize_keys(k, np.zeros(64, bool), transform=transformed).signs[0, 5].all()


@pytest.mark.parametrize("tokens", TOKENS)
def test_published_arithmetic_of_two_bits(rng: np.random.Generator, tokens: int) -> None:
    k = rng.standard_normal((2, tokens, 64)).astype(np.float16)
    found = vidkv.quantize_keys(k, np.ones(64, bool), rule="kivi").decompress()
    whole = tokens // 32 * 32
    if whole:
        expected = affine.dequantize(
            *affine.quantize(k[:, :whole], 2, "channel", 32, "kivi"), 2, "channel", 32, "kivi"
        )
        np.testing.assert_array_equal(found[:, :whole], expected.astype(np.float32))
    np.testing.assert_array_equal(found[:, whole:], k[:, whole:])


@pytest.mark.parametrize("decode", ["published", "scaled"])
@pytest.mark.parametrize("scale", [2.0**-24, 65504.0])
@pytest.mark.parametrize("channels", [64, 128])
def test_keys_at_both_ends_of_float16(
    rng: np.random.Generator, scale: float, channels: int, decode: str
) -> None:
    """Sums of up to 128 elements leave float16, those of subnormals do not lose their bits."""
    k = (rng.integers(-1, 2, (2, 64, channels)) * scale).astype(np.float16)
    k[:, :, 1] = np.float16(scale)
    normal = k.astype(np.float64)
    found = vidkv.quantize_keys(k, np.zeros(channels, bool), decode=decode).decompress()
    expected = full_spectrum(normal, decode)
    # Where F is 0 its sign depends on rounding: all but few columns of such tokens.
    assert np.median(np.abs(found - expected)) <= 1e-3 * np.abs(expected).max()
    assert np.isfinite(found).all()
    every = vidkv.quantize_keys(k, np.ones(channels, bool), decode=decode).decompress()
    assert np.abs(every - normal).max() <= 0.51 * 2 / 3 * scale + 2.0**-25
    zeros = vidkv.quantize_keys(np.zeros_like(k), vidkv.channel_mask(k, 0.5), decode=decode).decompress()
    assert not zeros.any()


@pytest.mark.parametrize("decode", ["published", "scaled", "kept"])
@pytest.mark.parametrize("gamma", [0.5, 0.7])
def test_values(rng: np.random.Generator, gamma: float, decode: str) -> None:
    v = elements(rng, (2, 70, 64))
    found = vidkv.quantize_values(v, gamma, decode).decompress()
    np.testing.assert_array_equal(found[:, 64:], v[:, 64:].astype(np.float32))
    groups = v[:, :64].astype(np.float64).reshape(2, 2, 32, 64)
    sizes = np.abs(groups)
    mean = sizes.mean(2, keepdims=True)
    large = sizes > round(gamma * 256) / 256 * mean
    counts = np.maximum(large.sum(2, keepdims=True), 1)
    scale = {
        "published": np.ones_like(mean),
        "scaled": mean,
        "kept": (sizes * large).sum(2, keepdims=True) / counts,
    }
    expected = (np.sign(groups) * large * scale[decode]).reshape(2, 64, 64)
    np.testing.assert_allclose(found[:, :64], expected, rtol=2.0**-11, atol=2.0**-25)


@pytest.mark.parametrize("decode", ["published", "scaled", "kept"])
def test_protected_values(rng: np.random.Generator, decode: str) -> None:
    """Each class is what it would be alone."""
    v = elements(rng, (2, 150, 64))
    marks = rng.random(150) < 0.3
    found = vidkv.quantize_values(v, 0.7, decode, protected=marks).decompress()
    np.testing.assert_array_equal(
        found[:, ~marks], vidkv.quantize_values(v[:, ~marks], 0.7, decode).decompress()
    )
    own = v[:, marks]
    whole = marks.sum() // 32 * 32
    np.testing.assert_array_equal(found[:, marks][:, whole:], own[:, whole:].astype(np.float32))
    two = affine.dequantize(*affine.quantize(own[:, :whole], 2, "channel", 32), 2, "channel", 32)
    np.testing.assert_array_equal(found[:, marks][:, :whole], two.astype(np.float32))
    for all_or_none in (np.ones(150, bool), np.zeros(150, bool)):
        assert vidkv.quantize_values(v, protected=all_or_none).decompress().shape == v.shape


@pytest.mark.parametrize(("heads", "tokens", "channels"), [(1, 32, 64), (1, 32, 128), (8, 640, 128)])
def test_published_bits(rng: np.random.Generator, heads: int, tokens: int, channels: int) -> None:
    """Keys 2.25 bits at one half; values 1.6, 2.1, and 2.28 with one token in five protected."""
    x = rng.standard_normal((heads, tokens, channels))
    for fraction, bits in (0.5, 2.25), (0.25, 1.875), (0.75, 2.625), (0.0, 1.5), (1.0, 3.0):
        mask = vidkv.channel_mask(x, fraction)
        for transformed in False, True:
            keys = vidkv.quantize_keys(x, mask, transform=transformed)
            assert bits <= keys.bits_per_element <= bits + 0.05
    for decode, bits in ("published", 1.6), ("scaled", 2.1), ("kept", 2.1):
        assert vidkv.quantize_values(x, decode=decode).bits_per_element == pytest.approx(bits, abs=1e-12)
    if tokens == 640:
        values = vidkv.quantize_values(x, protected=np.arange(tokens) < tokens // 5)
        assert values.bits_per_element == pytest.approx(2.28 + 1 / (heads * channels), abs=1e-12)
    assert vidkv.quantize_values(x[:, :1]).bits_per_element == 16


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.floats(0, 1), st.booleans())
@settings(max_examples=40)
def test_protected_tokens(seed: int, count: int, p: float, drop: bool) -> None:
    rng = np.random.default_rng(seed)
    visual, text = rng.integers(-3, 4, (count, 5)), rng.integers(-3, 4, (4, 5))  # many ties
    chosen = min(count, max(32, int(count * p // 32) * 32))
    score = {token: sum(int(visual[token] @ word) for word in text) for token in range(count)}
    expected = sorted(sorted(score, key=lambda token: (-score[token], token))[:chosen])
    expected = expected[:-32] if drop else expected
    found = vidkv.protected_tokens(visual, text, p, 14, drop)
    assert found.tolist() == [token + 14 for token in expected]


def test_refused_arguments() -> None:
    k = np.zeros((1, 32, 64))
    mask = np.zeros(64, bool)
    for call in (
        lambda: vidkv.channel_mask(k[0], 0.5),
        lambda: vidkv.channel_mask(k, 1.5),
        lambda: vidkv.channel_mask(k * np.nan, 0.5),
        lambda: vidkv.quantize_keys(k[0], mask),
        lambda: vidkv.quantize_keys(k, mask[:3]),
        lambda: vidkv.quantize_keys(k, mask.astype(int)),
        lambda: vidkv.quantize_keys(k, mask, decode="kept"),
        lambda: vidkv.quantize_keys(k, mask, rule="no"),
        lambda: vidkv.quantize_keys(k, mask, rule="ternary"),
        lambda: vidkv.quantize_values(k, 7),
        lambda: vidkv.quantize_values(k[:, :1], 7),
        lambda: vidkv.quantize_values(k, decode="mean"),
        lambda: vidkv.quantize_values(k + 1e6),
        lambda: vidkv.quantize_values(k, protected=mask[:3]),
        lambda: vidkv.protected_tokens(k[0], k[0, :, :3], 0.5),
        lambda: vidkv.protected_tokens(k[0], k[0], 2),
    ):
        with pytest.raises(ValueError, match=r"must"):
            call()
