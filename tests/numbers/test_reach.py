"""Bounds of contributions and sums: never passed, and at most what rounding widths up to bits adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.numbers import datatypes, scales
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("offset", [False, True], ids=["plain", "offset"])
@pytest.mark.parametrize("scale", scales.FORMATS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", datatypes.names())
def test_reach(name: str, scale: scales.ScaleFormat, offset: bool) -> None:
    """A product is bounded by its factors' bits, a sum by one more: at most a bit each too many."""
    kind = datatypes.get(name)
    values = [int(value) for s in range(max(len(kind.specials), 1)) for value in kind.values(s)]
    zero_points = (1 - (1 << kind.bits - 1), 1 << kind.bits - 1) if kind.asymmetric else (0,)
    value = max(abs(value + point) for value in values for point in zero_points)
    mantissa = (1 << scale.significand_bits) - 1
    for group in 8, 32, 100, 128:
        for activation_bits in range(8, 17):
            most = group * ((1 << activation_bits - 1) - 1)
            bound = reach(group, activation_bits, kind, scale, offset)
            assert most * (mantissa * value + 2048 * offset) < 1 << bound  # the least of 12 bits is -2048
            widest = max((mantissa + 1) * (value + kind.asymmetric), 2048 * offset)
            assert most * widest >= 1 << bound - 1 - offset


@given(st.integers(24, 48), st.integers(1, 512), st.integers(1, 70000))
def test_sums_of_contributions_fit_exactly(bits: int, group: int, inputs: int) -> None:
    """As many as the longest vector has fill the accumulator, and no bit of it stays unused."""
    numerics = Numerics(group=group, accumulator_bits=bits, maximum_inputs=inputs)
    groups = len(range(0, inputs, group))
    assert numerics.maximum_groups == groups
    assert groups * 2.0**numerics.alignment <= 2.0 ** (bits - 1) < 2 * groups * 2.0**numerics.alignment


def test_defaults() -> None:
    """Those of the presets `edge` and `paper`: changing them changes every result."""
    numerics = Numerics()
    assert (numerics.activation_bits, numerics.group, numerics.accumulator_bits) == (12, 128, 36)
    assert (numerics.maximum_inputs, numerics.maximum_groups, numerics.alignment) == (16384, 128, 28)
