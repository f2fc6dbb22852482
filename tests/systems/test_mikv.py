"""MiKV: the balancer, accumulated importance, tiers and their bits, against the paper's formulas."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.kv import affine
from golden.systems import mikv

pytestmark = pytest.mark.quick

HALVES = st.floats(-65504, 65504, width=16)


@given(
    arrays.arrays(np.float16, (2, 3, 5), elements=HALVES), arrays.arrays(np.float16, (4, 5), elements=HALVES)
)
def test_balancer(q: np.ndarray, k: np.ndarray) -> None:
    exact, snapped = mikv.balancer(q, k), mikv.balancer(q, k, power_of_two=True)
    for channel in range(5):
        top_q = max(abs(Fraction(float(x))) for x in q[..., channel].flat)
        top_k = max(abs(Fraction(float(x))) for x in k[..., channel].flat)
        if not top_q or not top_k:
            assert exact[channel] == snapped[channel] == 1
            continue
        # b^2 is a ratio: no root is taken here
        assert abs(Fraction(float(exact[channel])) ** 2 / (top_q / top_k) - 1) < Fraction(1, 1 << 20)
        exponents = [math.floor(math.log2(top)) for top in (top_q, top_k)]
        assert snapped[channel] == Fraction(2) ** round(Fraction(exponents[0] - exponents[1], 2))


def test_halves_of_exponents_go_to_even() -> None:
    found = mikv.balancer(np.array([[2.0, 8, 32, 0.5]]), np.ones((1, 4)), power_of_two=True)
    assert found.tolist() == [1, 4, 4, 1]  # exponents 0.5, 1.5, 2.5, -0.5


def test_balanced_scores_are_the_same(rng: np.random.Generator) -> None:
    """Keys times b and queries over b: what the balancer is for."""
    q, k = rng.standard_normal((3, 64)), rng.standard_normal((50, 64)) * rng.uniform(0.01, 30, 64)
    b = mikv.balancer(q, k).astype(np.float64)
    np.testing.assert_allclose((q / b) @ (k * b).T, q @ k.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.abs(q / b).max(0), np.abs(k * b).max(0), rtol=1e-6)


def test_refused_balancers() -> None:
    with pytest.raises(ValueError, match="2 and 3 channels"):
        mikv.balancer(np.ones((1, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        mikv.balancer(np.array([np.inf]), np.ones(1))
    with pytest.raises(ValueError, match="at least one"):
        mikv.balancer(np.ones((0, 2)), np.ones((1, 2)))


def test_accumulate(rng: np.random.Generator) -> None:
    """Step by step and all at once; two query heads of a group count both."""
    weights = rng.random((2, 7, 7)) * np.tri(7)
    score = np.zeros(0)
    for row in range(7):
        score = mikv.accumulate(score, weights[:, row : row + 1, : row + 1])
    wanted = [math.fsum(weights[head, row, j] for head in range(2) for row in range(7)) for j in range(7)]
    np.testing.assert_allclose(score, wanted, rtol=1e-14)
    np.testing.assert_allclose(mikv.accumulate(np.zeros(3), weights), wanted, rtol=1e-14)
    assert mikv.accumulate([2.0], [[0.5, 0.25]]).tolist() == [2.5, 0.25]
    with pytest.raises(ValueError, match="to 2 tokens"):
        mikv.accumulate(np.zeros(3), np.ones((1, 2)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 14), st.integers(0, 14))
def test_important(scores: list[int], heavy: int, recent: int) -> None:
    """Few different scores: mostly ties."""
    count = len(scores)
    older = range(max(count - recent, 0))
    wanted = set(range(len(older), count)) | set(sorted(older, key=lambda j: (-scores[j], j))[:heavy])
    for kind in (np.uint32, np.float32):
        assert set(np.flatnonzero(mikv.important(np.array(scores, kind), heavy, recent))) == wanted


def test_refused_importance() -> None:
    with pytest.raises(ValueError, match="recent -1"):
        mikv.important(np.ones(3), 1, -1)
    with pytest.raises(ValueError, match="k -1"):
        mikv.important(np.ones(3), -1, 1)


@pytest.mark.parametrize(
    ("high", "low", "bits", "published"),
    [(16, 2, "5.2", 33), (8, 2, "3.7", 23), (4, 2, "2.9", 18), (2, 2, "2.5", 16), (16, 4, "6.8", None)],
)
def test_bits_of_the_published_settings(high: int, low: int, bits: str, published: int | None) -> None:
    """20 % important, D = 128: the derivation to the letter, and Table 3's sizes in per cent of float16."""
    x = np.random.default_rng(0).standard_normal((2, 40, 128))
    important = np.tile(np.arange(40) % 5 == 2, (2, 1))
    for stored in (
        mikv.quantize_keys(x, important, high=high, low=low),
        mikv.quantize_values(x, important, high, low),
    ):
        assert stored.bits_per_element == float(Fraction(bits))
        if published:  # 18.1 and 15.6 are 18 and 16, 32.5 is 33
            assert math.floor(stored.bits_per_element / 16 * 100 + 0.5) == published


@pytest.mark.parametrize("shape", [(1, 1, 64), (2, 45, 64), (3, 33, 128), (2, 7, 8)])
@pytest.mark.parametrize("high", [16, 4])
def test_tiers(rng: np.random.Generator, shape: tuple[int, int, int], high: int) -> None:
    """Every half of a head by itself, by equation 1 in float16; no tier has any influence on the other."""
    x = rng.standard_normal(shape).astype(np.float16)
    count = int(rng.integers(0, shape[1] + 1))
    important = np.stack([rng.permutation(shape[1]) < count for _ in range(shape[0])])
    balance = rng.uniform(0.25, 4, (shape[0], shape[2])).astype(np.float32)
    found = mikv.quantize_keys(x, important, balance, high=high, low=2).decompress()
    values = mikv.quantize_values(x, important, high=high, low=2).decompress()
    half = shape[2] // 2
    for head, token, part in np.ndindex(shape[0], shape[1], 2):
        place = np.s_[head, token, part * half : (part + 1) * half]
        own, b = x[place], balance[head, part * half : (part + 1) * half]
        bits = high if important[head, token] else 2
        if bits == 16:
            np.testing.assert_array_equal(found[place], own)
            np.testing.assert_array_equal(values[place], own)
            continue
        np.testing.assert_array_equal(values[place], equation_1(own, bits))
        lying = (own.astype(np.float32) * b).astype(np.float16)
        np.testing.assert_array_equal(found[place], equation_1(lying, bits).astype(np.float32) / b)


def equation_1(x: np.ndarray, bits: int) -> np.ndarray:
    """Asymmetric minimum to maximum, one float16 operation a line."""
    beta = x.min()
    alpha = (x.max() - beta) / np.float16(2**bits - 1)
    if alpha == 0:
        return np.full_like(x, beta)
    quotient = (x - beta) / alpha
    code = np.minimum(np.rint(quotient), np.float16(2**bits - 1))
    scaled = code * alpha
    return scaled + beta


def test_the_balancer_helps_a_loud_channel(rng: np.random.Generator) -> None:
    """A channel with large keys and small queries spoils its group without it."""
    k, q = rng.standard_normal((1, 64, 128)), rng.standard_normal((16, 128))
    k[..., 5] *= 40
    q[..., 5] /= 40
    important = np.zeros((1, 64), bool)

    def error(balance: np.ndarray) -> float:
        back = mikv.quantize_keys(k, important, balance).decompress()[0]
        return float(np.square(q @ (back - k[0]).T).mean())

    assert error(mikv.balancer(q, k)) < error(np.ones(128)) / 3


def test_zeros_and_equal_elements_are_exact() -> None:
    x = np.zeros((2, 3, 64))
    x[1] = 0.375
    important = np.array([[True, False, False]] * 2)
    for bits in (2, 4):
        stored = mikv.quantize_values(x, important, bits, 2)
        np.testing.assert_array_equal(stored.decompress(), x)


def test_refused_tiers(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 64))
    with pytest.raises(ValueError, match=r"as many in every head"):
        mikv.quantize_values(x, [[True, False, False], [True, True, False]])
    with pytest.raises(ValueError, match=r"must be \[H, T, D\]"):
        mikv.quantize_values(x, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="channels 3 must be a multiple of 2"):
        mikv.quantize_values(np.ones((1, 1, 3)), np.zeros((1, 1), bool))
    with pytest.raises(ValueError, match=f"bits 5 must be one of {', '.join(map(str, affine.BITS))}"):
        mikv.quantize_values(x, np.zeros((2, 3), bool), low=5)
