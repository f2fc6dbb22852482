"""Weights of every distance, running maxima, shifts, and engines that merge."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.attention.engine import State, merge, start
from golden.attention.rounding import shifted
from golden.attention.softmax import raised, weights

pytestmark = pytest.mark.quick


def test_every_weight() -> None:
    """2^(score - maximum) within the table's error and half a unit of 11 bits, 1 at the maximum; then 0."""
    distance = np.arange(0, 34 << 12)
    found = weights(-distance[None], np.zeros(1, np.int64), np.ones((1, len(distance)), bool))[0]
    exact = np.exp2(-distance / 4096)
    kept = distance <= 32 << 12
    assert (np.abs(found / exact - 1)[kept] < 1.3e-4 + 2.0**-11).all()
    assert not found[~kept].any()
    assert found[::4096][:33].tolist() == [2.0**-n for n in range(33)]
    significand = np.frexp(found[kept])[0] * 2048
    assert (significand == np.rint(significand)).all()


def test_weights_of_invalid_tokens() -> None:
    valid = np.array([[True, False, True]])
    found = weights(np.array([[0, 1 << 30, -(1 << 31)]]), np.zeros(1, np.int64), valid)
    assert found.tolist() == [[1.0, 0.0, 0.0]]
    assert not np.signbit(found).any()


@given(st.lists(st.integers(-(1 << 31) + 4096, (1 << 31) - 4096), min_size=1, max_size=5), st.data())
def test_maximum(scores: list[int], data: st.DataObject) -> None:
    valid = np.array([data.draw(st.booleans()) for _ in scores])
    before = data.draw(st.integers(-(1 << 19), (1 << 19) - 1))
    (got,) = raised(np.array([before]), np.array([scores]), valid[None])
    seen = [math.ceil(Fraction(score, 4096)) for score, known in zip(scores, valid, strict=True) if known]
    assert got == max([before, *seen])


@given(st.integers(-(1 << 50), 1 << 50), st.integers(0, 1 << 20))
def test_shifts(value: int, places: int) -> None:
    expected = math.floor(Fraction(value, 1 << places) + Fraction(1, 2))
    assert shifted(np.array([value]), np.array([places])).tolist() == [expected]


def a_state(data: st.DataObject) -> tuple[int, int, list[int]]:
    maximum = data.draw(st.integers(-60, 60))
    total = data.draw(st.integers(1 << 31, 1 << 47))
    return maximum, total, data.draw(st.lists(st.integers(-(1 << 48), 1 << 48), min_size=2, max_size=2))


@given(st.data())
def test_merge(data: st.DataObject) -> None:
    """As fractions; engines without tokens, wherever they stand, change nothing."""
    engines = [a_state(data) for _ in range(data.draw(st.integers(1, 4)))]
    states = [State(*(np.array([part]) for part in engine), np.array([20])) for engine in engines]
    merged = merge(states)
    largest = max(maximum for maximum, _, _ in engines)

    def near(value: int, maximum: int) -> int:
        return math.floor(Fraction(value, 2 ** (largest - maximum)) + Fraction(1, 2))

    assert merged.maximum.tolist() == [largest]
    assert merged.total.tolist() == [sum(near(total, m) for m, total, _ in engines)]
    columns = [[near(value, m) for value in values] for m, _, values in engines]
    assert merged.sums.tolist() == [[sum(column) for column in zip(*columns, strict=True)]]
    states.insert(data.draw(st.integers(0, len(states))), start(1, 2, 20))
    for mine, theirs in zip(merge(states), merged, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_merging_nothing_and_strangers() -> None:
    empty = merge([start(2, 3, 5), start(2, 3, 5)])
    for mine, theirs in zip(empty, start(2, 3, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match=r"^engines must have the same top$"):
        merge([start(2, 3, 5), start(2, 3, 6)])
