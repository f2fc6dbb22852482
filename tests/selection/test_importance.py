"""Importance against softmax in float64, and the bounds that its docstring states."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.attention import engine
from golden.attention.decode import decode
from golden.kv import schemes
from golden.numbers.numerics import Numerics
from golden.selection import importance
from golden.selection.importance import FRACTION_BITS, LARGEST, accumulate, normalisers, of_lifetime, weights

pytestmark = pytest.mark.quick

UNIT = 2.0**-FRACTION_BITS


def state(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum and sum of weights of queries [N, T], whatever the roundings of the engine."""
    maximum = -(-scores.max(1) // 4096)
    sums = np.exp2(scores / 4096 - maximum[:, None]).sum(1)
    return maximum, np.rint(sums * 2.0**32).astype(np.int64)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp2((scores - scores.max(1, keepdims=True)) / 4096)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(("tokens", "spread"), [(1, 1), (7, 3e4), (300, 1e4), (5000, 100), (900, 1e6)])
def test_weights_are_softmax(rng: np.random.Generator, tokens: int, spread: float) -> None:
    scores = np.rint(rng.normal(0, spread, (4, tokens)) + rng.normal(0, 1e5, (4, 1))).astype(np.int64)
    found = weights(scores, normalisers(*state(scores))) * UNIT
    exact = softmax(scores)
    assert np.all(np.abs(found - exact) <= 5e-4 * exact + UNIT / 2)
    assert abs(found.sum(1) - 1).max() < 5e-4 + tokens * UNIT / 2


@given(st.integers(1, (1 << 49) + 1), st.integers(-(1 << 19), (1 << 19) - 1))
def test_normaliser(total: int, maximum: int) -> None:
    (found,) = normalisers([maximum], [total])
    exact = maximum + float(np.log2(np.longdouble(total))) - 32
    assert -(2.0**-12) - 1.9e-4 < found / 4096 - exact < 1.9e-4


def test_totals_next_to_powers_of_two() -> None:
    """The leading bit is found of numbers that float64 would round up to a power of two, too."""
    totals = [(1 << power) + step for power in range(2, 50) for step in (-1, 0, 1)]
    found = normalisers(np.zeros(len(totals), int), totals)
    for total, one in zip(totals, found.tolist(), strict=True):
        assert one >> 12 == total.bit_length() - 33 or (
            one & 4095 == 0 and one >> 12 == total.bit_length() - 32
        )


def test_group_is_summed_and_new_tokens_start_at_0(rng: np.random.Generator) -> None:
    scores = rng.integers(-9000, 9000, (3, 40))
    before = rng.integers(0, 1 << 24, 35).astype(np.uint32)
    own = weights(scores, normalisers(*state(scores)))
    found = accumulate(before, scores, *state(scores))
    assert found.dtype == np.uint32
    assert found.tolist() == [
        (int(before[t]) if t < 35 else 0) + sum(int(own[n, t]) for n in range(3)) for t in range(40)
    ]


def test_evicted_tokens_are_cleared(rng: np.random.Generator) -> None:
    scores = rng.integers(-9000, 9000, (2, 10))
    live = rng.random(10) < 0.5
    found = accumulate(np.full(10, 7), scores, *state(scores), live)
    assert not found[~live].any()
    assert (found[live] >= 7).all()


def test_three_steps_of_attention(rng: np.random.Generator) -> None:
    """Scores, maxima and sums of the engine's own, tokens coming in between; sums of a group's weights."""
    scheme, sums, exact = schemes.get("native2_paged"), np.zeros(0, np.uint32), np.zeros(70)
    keys, values = rng.standard_normal((2, 1, 70, 64)) * 2
    for tokens in (33, 64, 70):
        cache = scheme.compress(keys[:, :tokens], values[:, :tokens], 32)
        found = decode(cache, rng.standard_normal((3, 64)), Numerics())
        sums = accumulate(sums, found.scores, found.maximum, found.total)
        exact[:tokens] += softmax(found.scores).sum(0)
    assert np.all(np.abs(sums * UNIT - exact) <= 1.2e-3 * exact + 9 * UNIT / 2)
    assert abs(sums.sum() * UNIT - 9) < 0.01


def test_sums_saturate() -> None:
    scores = np.zeros((2, 3), int)
    found = accumulate([LARGEST, LARGEST - (1 << 19), 0], scores, *state(scores))
    assert found[:2].tolist() == [LARGEST, LARGEST]
    assert found[2] < 1 << 20


def test_a_query_without_tokens_gives_nothing() -> None:
    start = engine.start(2, 4, 15)
    scores = np.full((2, 3), (1 << 31) - (1 << 12))
    assert normalisers(start.maximum, start.total).tolist() == [importance.EMPTY] * 2
    assert accumulate([1, 2, 3], scores, start.maximum, start.total).tolist() == [1, 2, 3]


def test_more_sums_than_tokens() -> None:
    with pytest.raises(ValueError, match="4 sums"):
        accumulate([0] * 4, np.zeros((1, 3), int), [0], [1 << 32])


def test_lifetime() -> None:
    """ZipCache's prompt: token j is seen by T - j rows."""
    assert of_lifetime([10, 9, 8, 7], [4, 3, 2, 0]).tolist() == [2, 3, 4, 7]
