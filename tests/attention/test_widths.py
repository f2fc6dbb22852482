"""No sum of the attention engine overflows: bounds in integers, and pages as near to them as they can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.attention import engine, page, widths
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.numbers.numerics import Numerics
from hw.attention.payloads import TERM_BITS, TOTAL_BITS

pytestmark = pytest.mark.quick

P, D = 32, 16
LARGEST_CODE = 255
PER_TOKEN = 2 * (LARGEST_CODE + 1) << widths.SUM_FRACTION
"""What a token of weight 1 adds, at most: step and offset below 2^(top - 14), as much again for roundings."""


def test_bounds() -> None:
    """Sums of the longest context fit their widths, sign included."""
    tokens = 1 << widths.CONTEXT_BITS
    assert PER_TOKEN * tokens <= 1 << widths.SUM_BITS - 1
    assert tokens << widths.TOTAL_FRACTION < 1 << TOTAL_BITS
    products = 2 * widths.MOST_CHANNELS << widths.TERM_INTEGER + widths.TERM_FRACTION
    assert products <= 1 << TERM_BITS - 1
    most_tokens, centre = 64, 1 << 7
    page_term = most_tokens * (1 + centre) << widths.SUM_FRACTION + widths.TERM_EXTRA
    assert page_term < 1 << TERM_BITS - 1


@given(
    st.sampled_from([8, 4, 3, 2, 1]),
    st.sampled_from(["token", "channel"]),
    st.sampled_from([1, -1]),
    st.integers(1, 30),
    st.integers(0, 2**32 - 1),
)
def test_the_largest_numbers_stay_within_a_tokens_share(
    bits: int, axis: str, sign: int, field: int, seed: int
) -> None:
    """Every code, step and offset as large as it can be beside the others, every weight 1."""
    rng = np.random.default_rng(seed)
    form = Format("native", bits, axis, 16)
    shape = form.quantize(rng.standard_normal((P, D))).scale.shape
    largest = np.float16(np.ldexp(2047.0, field - 25))
    codes = np.full((P, D), (1 << bits) - 1, np.uint8) - (rng.random((P, D)) < 0.1)
    extreme = Quantized(codes.astype(np.uint8), np.full(shape, largest), np.full(shape, sign * largest))
    keys = form.quantize(np.zeros((P, D)))
    state = engine.start(1, D, field)
    query = fold(np.zeros((1, D), np.float16))
    for count in (1, 2, 3):
        state, _ = engine.step(
            state, query, page.read(form, keys), page.read(form, extreme), Numerics(), field
        )
        assert np.abs(state.sums).max() <= count * P * PER_TOKEN // 2
        assert state.total[0] == count * P << widths.TOTAL_FRACTION
    if sign > 0 and bits == 8:
        assert np.abs(state.sums).max() > 3 * P * PER_TOKEN // 8  # the bound is not idle
