"""The end of an engine's work: reciprocals of every significand, quotients against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golden.attention.division import divided, reciprocal

pytestmark = pytest.mark.quick


def test_every_reciprocal(rng: np.random.Generator) -> None:
    """All 2^16 significands, as short as they are and with random bits below."""
    significands = np.arange(1 << 16, 1 << 17)
    for below in (0, 1, 15, 32):
        total = (significands << below) + rng.integers(0, 1 << below, len(significands))
        integers, exponents = reciprocal(total)
        error = np.ldexp(integers.astype(float), exponents) * (total * 2.0**-32) - 1
        assert np.abs(error).max() < 4e-5
        assert integers.max() == 1 << 16


@pytest.mark.parametrize("total", [1, 2, 3, (1 << 32) - 1, 1 << 32, (1 << 49) - 1, 1 << 49])
def test_ends_of_sums(total: int) -> None:
    integers, exponents = reciprocal(np.array([total]))
    value = Fraction(int(integers[0])) * Fraction(2) ** int(exponents[0])
    assert abs(value * Fraction(total, 1 << 32) - 1) < 4e-5


@given(
    st.integers(1 - (1 << 50), (1 << 50) - 1),
    st.integers(1 << 31, 1 << 49),
    st.integers(1, 30),
    st.integers(0, 50),
)
@example((1 << 50) - 1, 1 << 31, 30, 0)
@example(1 - (1 << 50), 1 << 49, 30, 0)
@example(-(1 << 20), 1 << 34, 1, 0)
def test_quotients(value: int, total: int, top: int, drop: int) -> None:
    """Rounded to float16 within 6e-5; beyond its range the largest number; no -0 for 0."""
    value >>= drop
    (got,) = divided(np.array([[value]]), np.array([top - 38]), np.array([total]))[0]
    exact = Fraction(value) * Fraction(2) ** (top - 38) / Fraction(total, 1 << 32)
    low, high = (abs(exact) * (1 + Fraction(sign * 6, 100_000)) for sign in (-1, 1))
    with np.errstate(over="ignore"):
        bounds = [min(float(np.float16(float(bound))), 65504) for bound in (low, high)]
    assert bounds[0] <= abs(float(got)) <= bounds[1]
    assert value == 0 or np.signbit(got) == (value < 0)
    assert value != 0 or got.view(np.uint16) == 0


def test_nothing_divided_by_nothing() -> None:
    zeros = np.zeros((3, 4), np.int64)
    assert (divided(zeros, zeros[:, 0], zeros[:, 0]).view(np.uint16) == 0).all()
