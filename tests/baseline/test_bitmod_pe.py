"""BitMoD's processing element: terms against integers, golden model against rationals."""

import random
from fractions import Fraction

import numpy as np
import pytest

from golden.baseline import bitmod_pe as golden
from golden.numbers import datatypes
from sim.benches.baseline import bitmod_pe as bench


def half(bits: int) -> Fraction:
    return Fraction(float(np.uint16(bits).view(np.float16)))


def value(terms: list[tuple[golden.Term, int]]) -> int:
    return sum((-1) ** t.sign * t.man << t.exp + bsig for t, bsig in terms)


@pytest.mark.quick
@pytest.mark.parametrize(("bits", "cycles"), [(4, 2), (6, 3), (8, 4)])
def test_booth_terms_of_every_integer(bits: int, cycles: int) -> None:
    for integer in range(-(1 << bits - 1), 1 << bits - 1):
        terms = golden.booth_terms(integer, bits)
        assert value(terms) == integer
        assert [bsig for _, bsig in terms] == list(range(0, 2 * cycles, 2))
        assert all(term.exp <= 1 for term, _ in terms)


@pytest.mark.quick
@pytest.mark.parametrize("name", ["bitmod3", "bitmod4"])
def test_float_terms_of_every_value(name: str) -> None:
    kind = datatypes.get(name)
    for selector in range(4):
        for integer in kind.values(selector):
            halves = int(2 * integer * kind.step)
            terms = golden.float_terms(halves)
            assert value(terms) == halves
            assert [bsig for _, bsig in terms] == [1, 0]


@pytest.mark.quick
def test_refuses_what_has_no_two_terms() -> None:
    with pytest.raises(ValueError, match=r"^7 halves have no two terms$"):
        golden.float_terms(7)
    with pytest.raises(ValueError, match=r"^value 8 does not fit 4 bits$"):
        golden.booth_terms(8, 4)
    with pytest.raises(ValueError, match=r"^scale 256 must be 0\.\.255$"):
        golden.dequantise(golden.Accumulator(), 256)


@pytest.mark.quick
def test_sums_stay_within_what_is_dropped() -> None:
    """Against rationals: each step drops at most four lanes' last places and one of the accumulator."""
    random.seed(30)
    for group in bench.groups(200):
        accumulator, exact, bound = golden.Accumulator(), Fraction(0), Fraction(0)
        for activations, terms, bsig in group.cycles:
            if any(bits >> 10 & 31 == 31 for bits in activations):
                break
            accumulator = golden.accumulate(accumulator, activations, terms, bsig)
            exact += sum(
                half(a) * (-1) ** t.sign * t.man * 2 ** (t.exp + bsig)
                for a, t in zip(activations, terms, strict=True)
            )
            largest = max(max(a >> 10 & 31, 1) + t.exp for a, t in zip(activations, terms, strict=True))
            bound += Fraction(2) ** (largest + bsig + golden.UNIT) * golden.LANES
            bound += Fraction(2) ** (accumulator.exponent + golden.UNIT) * 3
            got = accumulator.mantissa * Fraction(2) ** (accumulator.exponent + golden.UNIT)
            assert abs(got - exact) <= bound
            assert -(1 << 14) <= accumulator.mantissa < 1 << 14


@pytest.mark.quick
def test_exact_where_nothing_is_dropped() -> None:
    """Integers times one: the accumulator has room for them."""
    rng = random.Random(31)
    weights = [rng.randrange(-8, 8) for _ in range(64)]
    ones = (0x3C00,) * golden.LANES
    accumulator = golden.Accumulator()
    for index in range(0, 64, golden.LANES):
        lanes = [golden.booth_terms(weight, 4) for weight in weights[index : index + golden.LANES]]
        for step in zip(*lanes, strict=True):
            terms = [term for term, _ in step]
            accumulator = golden.accumulate(accumulator, ones, terms, step[0][1])
    mantissa, exponent = golden.dequantise(accumulator, 77)
    assert mantissa * Fraction(2) ** (exponent + golden.UNIT) == 77 * sum(weights)
