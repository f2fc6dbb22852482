"""Sums and products of the vector unit against fractions, on every kind of operand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golden.vector.arithmetic import add, flushed, multiply

pytestmark = pytest.mark.quick

BITS = st.integers(0, (1 << 32) - 1) | st.builds(
    lambda sign, field, fraction: sign << 31 | field << 23 | fraction,
    st.integers(0, 1),
    st.sampled_from((0, 1, 2, 24, 25, 102, 103, 126, 127, 128, 150, 151, 253, 254, 255)),
    st.sampled_from((0, 1, 2, 3, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFE, 0x7FFFFF)),
)


def number(bits: int) -> np.float32:
    return np.array([bits], np.uint32).view(np.float32)[0]


def rounded(exact: Fraction, zero: int) -> int:
    """Bits of the float32 nearest to a number, whose sign is ``zero`` if it is zero."""
    if exact == 0:
        return zero << 31
    sign, magnitude = exact < 0, abs(exact)
    if magnitude < Fraction(1, 1 << 126):
        return sign << 31
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    significand = round(magnitude / Fraction(2) ** (exponent - 23))  # halves to even
    pattern = (exponent + 126 << 23) + significand
    return sign << 31 | min(pattern, 0x7F800000)


def operand(bits: int) -> tuple[str, int, Fraction]:
    sign, field, fraction = bits >> 31, bits >> 23 & 255, bits & 0x7FFFFF
    if field == 255:
        return ("nan" if fraction else "infinite"), sign, Fraction(0)
    if field == 0:
        return "zero", sign, Fraction(0)
    value = Fraction((1 << 23) + fraction) * Fraction(2) ** (field - 150)
    return "normal", sign, -value if sign else value


def sum_bits(a: int, b: int) -> int:
    (x, s, p), (y, t, q) = operand(a), operand(b)
    if "nan" in (x, y) or (x == y == "infinite" and s != t):
        return 0x7FC00000
    if "infinite" in (x, y):
        return (s if x == "infinite" else t) << 31 | 0x7F800000
    return rounded(p + q, s & t if x == y == "zero" else 0)


def product_bits(a: int, b: int) -> int:
    (x, s, p), (y, t, q) = operand(a), operand(b)
    if "nan" in (x, y) or {x, y} == {"zero", "infinite"}:
        return 0x7FC00000
    if "infinite" in (x, y):
        return (s ^ t) << 31 | 0x7F800000
    return rounded(p * q, s ^ t)


@given(BITS, BITS)
@example(0x00800000, 0x3F7FFFFF)  # just below 2^-126, rounds up to it
@example(0x3F800001, 0xBF800000)
@example(0x80000000, 0x80000000)
def test_against_fractions(a: int, b: int) -> None:
    assert int(add(number(a), number(b)).view(np.uint32)) == sum_bits(a, b)
    assert int(multiply(number(a), number(b)).view(np.uint32)) == product_bits(a, b)


@given(BITS, st.integers(-40, 40), BITS)
def test_cancellation(a: int, near: int, other: int) -> None:
    """Operands of nearly the same magnitude, or of nearby exponents."""
    for b in ((a ^ 1 << 31) + near, a ^ 1 << 31 ^ (other & 0x81FFFFFF)):
        b &= (1 << 32) - 1
        assert int(add(number(a), number(b)).view(np.uint32)) == sum_bits(a, b)


@given(BITS)
def test_flushed(bits: int) -> None:
    kind, sign, value = operand(bits)
    found = int(flushed(number(bits)).view(np.uint32))
    assert found == {"nan": 0x7FC00000, "zero": sign << 31}.get(kind, bits)
    assert kind != "normal" or Fraction(float(number(bits))) == value
