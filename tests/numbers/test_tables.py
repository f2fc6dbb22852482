"""Table functions: every argument against decimals of 40 digits, and rows that no other line beats."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from golden.numbers.tables import EXP2, FINE_EXP2, FINE_RECIPROCAL, RECIPROCAL, Table

pytestmark = pytest.mark.quick

BOUND = {"exp2": Fraction(13, 100_000), "reciprocal": Fraction(5, 10_000)}


def exact(table: Table) -> list[Fraction]:
    """The function of every argument, and of 1."""
    if table.name == "reciprocal":
        return [Fraction(4096, 4096 + argument) for argument in range(4097)]
    with localcontext() as context:
        context.prec = 40
        return [Fraction(Decimal(2) ** (Decimal(argument) / 4096)) for argument in range(4097)]


@pytest.mark.parametrize("table", [EXP2, RECIPROCAL], ids=lambda table: table.name)
def test_every_argument(table: Table) -> None:
    values = [Fraction(value, 1 << 24) for value in table(np.arange(4096)).tolist()]
    errors = [abs(value / wanted - 1) for value, wanted in zip(values, exact(table), strict=False)]
    assert BOUND[table.name] * Fraction(9, 10) < max(errors) < BOUND[table.name]
    steps = np.sign(np.diff(table(np.arange(4096))))
    assert (steps == (1 if table is EXP2 else -1)).mean() > 0.99, "ends of segments may step back"


@pytest.mark.parametrize("table", [EXP2, RECIPROCAL], ids=lambda table: table.name)
def test_rows_are_the_best_lines(table: Table) -> None:
    """Of all with an intercept and a slope nearby, up to what rounding the row to 16 bits costs."""
    function = np.array([float(value) for value in exact(table)])
    place = np.arange(257) / 256
    for segment, (intercept, slope) in enumerate(zip(table.intercepts, table.slopes, strict=True)):
        wanted = function[256 * segment : 256 * segment + 257] * 65536

        def worst(rise: float, change: float, wanted=wanted, row=(intercept, slope)) -> float:
            return np.abs(row[0] + rise + (row[1] + change) * place - wanted).max()

        own = worst(0, 0)
        for change in np.linspace(-8, 8, 17):
            best = min(worst(rise, change) for rise in np.linspace(-8, 8, 65))
            assert own < best + 1.01


def test_a_row_by_hand() -> None:
    """Segment 15 of exp2, 2^(15/16) to 2: its slope is that of the chord."""
    assert len(EXP2.intercepts) == len(EXP2.slopes) == 16
    assert EXP2.slopes[15] == round((2 - 2 ** (15 / 16)) * 65536) == 5557
    assert EXP2.intercepts[15] == 125500
    assert EXP2([15 * 256, 15 * 256 + 255]).tolist() == [125500 * 256, 125500 * 256 + 5557 * 255]


def test_rows_fit_their_memory() -> None:
    for table in EXP2, RECIPROCAL:
        assert 0 < min(table.intercepts) <= max(table.intercepts) < 1 << 17
        assert max(map(abs, table.slopes)) < 1 << 13
        assert table(np.arange(4096)).max() < 1 << 25


def test_every_fine_argument() -> None:
    """Against float64, whose errors are far below; the leading bit of a value never moves."""
    fractions = (np.arange(1 << 18) + 0.5) / 2**18
    for table, wanted, bound, least in (
        (FINE_EXP2, 2.0**fractions, 3.3e-6, 1 << 29),
        (FINE_RECIPROCAL, 1 / (1 + fractions), 9.2e-6, 1 << 28),
    ):
        values = table(np.arange(1 << 18))
        assert 0.9 * bound < np.abs(np.ldexp(values.astype(float), -29) / wanted - 1).max() < bound
        assert values.min() >= least
        assert values.max() < 2 * least
