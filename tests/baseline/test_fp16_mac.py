"""FP16 multiply-accumulate: the golden model where rounding and range are at their limits."""

import numpy as np
import pytest

from golden.baseline import fp16_mac as golden


def single(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


@pytest.mark.quick
def test_one_rounding_not_two() -> None:
    """Just above a tie, exactly on it, just below it: decided by product bits far below the last place."""
    one = golden.accumulate(0, 0x3C00, 0x3C00)
    assert single(golden.accumulate(one, 0x0C00, 0x0C00)) == 1.0  # 2**-24: a tie, to even
    assert single(golden.accumulate(one, 0x0C01, 0x0C00)) == np.nextafter(np.float32(1), np.float32(2))
    assert single(golden.accumulate(one, 0x8C00, 0x0801)) == np.nextafter(np.float32(1), np.float32(0))


@pytest.mark.quick
def test_growth_stops_before_overflow() -> None:
    """From 2**56 on, the largest product is at most half a last place, and 2**56 is even."""
    top = int(np.float32(2.0**56).view(np.uint32))
    assert golden.accumulate(top, 0x7BFF, 0x7BFF) == top
    below = golden.accumulate(top - 1, 0x7BFF, 0x7BFF)
    assert below == top


@pytest.mark.quick
def test_smallest_sums_are_normal() -> None:
    smallest = golden.accumulate(0, 0x0001, 0x0001)
    assert single(smallest) == 2.0**golden.UNIT
    assert golden.accumulate(smallest, 0x8001, 0x0001) == 0


@pytest.mark.quick
def test_rejects_accumulators_that_cannot_occur() -> None:
    with pytest.raises(ValueError, match=r"^acc 0x00000001 is not a multiple of 2\*\*-48$"):
        golden.accumulate(1, 0x3C00, 0x3C00)
