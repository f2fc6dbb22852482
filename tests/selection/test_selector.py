"""Exact selections against their definitions in fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.selection import top_k, top_p

pytestmark = pytest.mark.quick

INTEGERS = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 1]), max_size=40)
FLOATS = st.lists(
    st.floats(0, allow_infinity=False, allow_nan=False) | st.sampled_from([0.0, 0.1, 5e-324, 1.7e308]),
    max_size=20,
)
SHARES = st.integers(0, 1 << 16).map(lambda numerator: Fraction(numerator, 1 << 16))


def ranked(scores: list[float], lowest: bool) -> list[int]:
    sign = 1 if lowest else -1
    return sorted(range(len(scores)), key=lambda token: (sign * Fraction(scores[token]), token))


def fewest(scores: list[float], share: Fraction, lowest: bool) -> set[int]:
    """Shortest prefix that reaches the share, sums in fractions."""
    order = ranked(scores, lowest)
    needed = share * sum(map(Fraction, scores))
    count = 0
    while sum((Fraction(scores[token]) for token in order[:count]), Fraction(0)) < needed:
        count += 1
    return set(order[:count])


@given(INTEGERS | FLOATS, st.integers(0, 45), st.booleans())
def test_top_k(scores: list[float], k: int, lowest: bool) -> None:
    kind = np.uint32 if all(isinstance(score, int) for score in scores) else np.float64
    chosen = top_k(np.array(scores, kind), k, lowest)
    assert chosen.dtype == bool
    assert set(np.flatnonzero(chosen)) == set(ranked(scores, lowest)[:k])


@given(INTEGERS | FLOATS, SHARES, st.booleans())
def test_top_p(scores: list[float], share: Fraction, lowest: bool) -> None:
    kind = np.uint32 if all(isinstance(score, int) for score in scores) else np.float64
    assert set(np.flatnonzero(top_p(np.array(scores, kind), share, lowest))) == fewest(scores, share, lowest)


def test_order_of_large_integers() -> None:
    """Neighbours that float64 does not tell apart."""
    scores = np.array([2**63, 2**63 + 1, 2**63], np.uint64)
    assert top_k(scores, 1).tolist() == [False, True, False]
    assert top_k(scores, 2).tolist() == [True, True, False]


def test_a_rounded_sum_does_not_decide() -> None:
    """In float32 the small scores vanish beside the large one."""
    scores = np.array([1.0] + [2.0**-25] * 4, np.float32)
    assert top_p(scores, 1.0).all()
    assert top_p(scores, 0.5).sum() == 1


def test_zeros_need_no_token() -> None:
    assert not top_p(np.zeros(5), 1.0).any()
    assert top_k(np.zeros(5), 2).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("scores", "wording"),
    [
        ([-1.0], "at least 0"),
        ([np.nan], "finite"),
        ([[1.0]], "one dimension"),
        (["a"], "unsigned integers or floats"),
    ],
)
def test_refused_scores(scores: list[float], wording: str) -> None:
    with pytest.raises(ValueError, match=wording):
        top_k(np.array(scores), 1)


def test_refused_sizes() -> None:
    with pytest.raises(ValueError, match="k -1"):
        top_k(np.ones(2), -1)
    with pytest.raises(ValueError, match="tau"):
        top_p(np.ones(2), 1.5)
