"""FP16 x INT8 multiply-accumulate: the golden model, every product, rounding and range at their limits."""

import numpy as np
import pytest

from golden.baseline import fp16_int8_mac as golden


def half(bits: int) -> float:
    return float(np.uint16(bits).view(np.float16))


def single(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


@pytest.mark.quick
def test_every_product_is_exact() -> None:
    """All weights and all finite activations with a few fractions, in float64."""
    fractions = (0, 1, 0x155, 0x3FF)
    for b in range(-128, 128):
        for a in (exponent << 10 | fraction for exponent in range(31) for fraction in fractions):
            assert single(golden.accumulate(0, a, b)) == half(a) * b


@pytest.mark.quick
def test_one_rounding_not_two() -> None:
    """Just above a tie, exactly on it, just below it."""
    start = golden.accumulate(0, 0x3C00, 1)
    for a, b, expected in (
        (0x0001, 1, 1.0),  # 2**-24: a tie, to even
        (0x0001, 2, 1 + 2**-23),
        (0x0003, 1, 1 + 2**-22),  # a tie, to even
        (0x8001, 1, 1 - 2**-24),  # exact below 1
    ):
        assert single(golden.accumulate(start, a, b)) == expected


@pytest.mark.quick
def test_growth_stops_before_overflow() -> None:
    """From 2**47 on, the largest product is below half a last place."""
    top = int(np.float32(2.0**47).view(np.uint32))
    assert golden.accumulate(top, 0x7BFF, 127) == top
    assert golden.accumulate(top, 0xFBFF, -128) == top


@pytest.mark.quick
def test_weights_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^b must be -128\.\.127, got 128$"):
        golden.accumulate(0, 0x3C00, 128)
