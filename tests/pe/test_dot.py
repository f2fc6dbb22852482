"""Golden group dot products against Python integers."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golden.pe.dot import group_dot

pytestmark = pytest.mark.quick


def slow(activations: list[int], values: list[int], group: int) -> list[int]:
    """Dot product of every group of one output."""
    products = [a * v for a, v in zip(activations, values, strict=True)]
    return [sum(products[start : start + group]) for start in range(0, len(products), group)]


@given(
    st.lists(st.tuples(st.integers(-32767, 32767), st.integers(-128, 448)), min_size=1, max_size=40),
    st.integers(1, 45),
)
@example(pairs=[(3, -5), (-7, 11)] * 20, group=16)
def test_matches_python(pairs: list[tuple[int, int]], group: int) -> None:
    """Any length and group, the last group short."""
    activations, values = (list(column) for column in zip(*pairs, strict=True))
    found = group_dot(np.array(activations, np.int32), np.array([values, values[::-1]], np.int16), group)
    assert found.dtype == np.int64
    assert found[0].tolist() == slow(activations, values, group)
    assert found[1].tolist() == slow(activations, values[::-1], group)


def test_narrow_inputs_do_not_wrap() -> None:
    """Products beyond the inputs' own types: 256 elements of 16 bits by 10 bits."""
    activations, values = np.full(256, -32767, np.int16), np.full((1, 256), 448, np.int16)
    assert group_dot(activations, values, 256).tolist() == [[-32767 * 448 * 256]]


def test_groups_of_one() -> None:
    activations, values = np.array([1, -2, 3]), np.array([[4, 5, 6]])
    assert group_dot(activations, values, 1).tolist() == [[4, -10, 18]]
