"""Golden contributions and exponents against fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golden.numbers.numerics import Numerics
from golden.pe.rescale import contribution, output_exponent

pytestmark = pytest.mark.quick

NUMERICS = st.builds(
    Numerics,
    activation_bits=st.integers(8, 16),
    group=st.sampled_from((8, 32, 128, 256)),
    accumulator_bits=st.integers(24, 48),
    maximum_inputs=st.sampled_from((512, 16384, 65536)),
)


@given(
    st.integers(-(2**34), 2**34), st.integers(-2048, 2047), st.integers(0, 600), st.integers(12, 48), NUMERICS
)
@example(operand=-1, mantissa=1, distance=600, bound=20, numerics=Numerics())
@example(operand=-3, mantissa=1, distance=1, bound=20, numerics=Numerics())
@example(operand=1, mantissa=2047, distance=0, bound=12, numerics=Numerics(accumulator_bits=48))
def test_contribution(operand: int, mantissa: int, distance: int, bound: int, numerics: Numerics) -> None:
    """Rounded down, also below zero, whichever way it is shifted."""
    exact = Fraction(operand * mantissa) * Fraction(2) ** (numerics.alignment - bound - distance)
    found = contribution(np.array([operand]), np.array([mantissa]), np.array([distance]), bound, numerics)
    left = numerics.alignment - bound - distance
    if left > 0 and abs(exact) >= 2**62:
        return  # beyond int64 and every reach
    assert found.tolist() == [math.floor(exact)]


@pytest.mark.parametrize("product", [1, 2**45, 2**61, 2**62, 2**63 - 1, -1, -(2**62), -(2**62) - 1, -(2**63)])
def test_every_shift_of_a_product(product: int) -> None:
    """To the right by 0 to 700, past the 64 bits that hold a product: what is left is 0, or -1 below zero."""
    numerics, amounts = Numerics(), np.arange(700)
    found = contribution(np.array(product), np.array(1), amounts, numerics.alignment, numerics)
    assert found.tolist() == [product >> amount for amount in range(700)]


@pytest.mark.parametrize("operand", [1, -1, 3, -2047])
def test_every_shift_to_the_left(operand: int) -> None:
    """As far as an accumulator of 48 bits can ask for where the bound is small."""
    numerics = Numerics(accumulator_bits=48, maximum_inputs=128)
    for bound in range(numerics.alignment + 1):
        found = contribution(np.array(operand), np.array(1), np.array(0), bound, numerics)
        assert int(found) == operand << numerics.alignment - bound


@given(st.integers(1, 2**34), st.integers(0, 100))
def test_rounding_down_is_not_symmetric(operand: int, distance: int) -> None:
    """A contribution and its negative differ by one unit in magnitude, or are exact."""
    numerics, values = Numerics(), np.array([operand, -operand])
    both = contribution(values, np.array([1]), np.array([distance]), numerics.alignment, numerics)
    assert both.sum() == (0 if operand % (1 << distance) == 0 else -1)


def test_broadcasting() -> None:
    """Shapes of the product [K, D]: rows of operands by per-group distances."""
    operand, distance = np.arange(-6, 6).reshape(3, 4), np.array([0, 1, 2, 3])
    numerics = Numerics()
    found = contribution(operand, np.ones((3, 1), int), distance, numerics.alignment, numerics)
    assert found.tolist() == [
        [v >> d for v, d in zip(row, range(4), strict=True)] for row in operand.tolist()
    ]


@given(st.integers(-128, 127), st.integers(1, 254), st.sampled_from((15, 127)), st.integers(10, 48), NUMERICS)
def test_output_exponent(channel: int, reference: int, bias: int, bound: int, numerics: Numerics) -> None:
    """A contribution times its lowest bit's weight is the real product, up to rounding down."""
    exponent = int(output_exponent(np.array(channel), reference, bias, bound, numerics))
    operand = 1 << min(30, bound - 1)  # within what ``bound`` promises
    inside = int(contribution(np.array(operand), np.array(1), np.array(0), bound, numerics))
    real = Fraction(operand) * Fraction(2) ** (channel + reference - bias - (numerics.activation_bits - 2))
    unit = Fraction(2) ** exponent
    assert inside * unit <= real < (inside + 1) * unit
