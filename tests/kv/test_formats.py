"""KV formats decoded to float16: exact rational arithmetic, rounded once by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv.affine import Quantized
from golden.kv.formats import Format

pytestmark = pytest.mark.quick

GROUP = 16
UNIT = Fraction(1, 2**24)
FORMATS = [*(Format("native", bits, "token", GROUP) for bits in (1, 2, 3, 4, 8))] + [
    Format(rule, bits, "token", GROUP) for rule, bits in (("sign", 1), ("ternary_scaled", 2), ("ternary", 2))
]


def half_pattern(value: Fraction) -> int:
    """Bit pattern of the nearest float16, ties to even; the largest one above, no negative zero."""
    sign, units = (0x8000 if value < 0 else 0), abs(value) / UNIT
    assert units.denominator == 1
    shift = max(int(units).bit_length() - 11, 0)
    mantissa = round(units / 2**shift)  # Fraction rounds ties to even
    if mantissa == 0x800:
        mantissa, shift = 0x400, shift + 1
    return sign | min((shift << 10) + mantissa, 0x7BFF)


def exact(form: Format, code: int, scale: Fraction, zero: Fraction) -> Fraction:
    if form.kind == "sign":
        return scale if code else -scale
    if form.kind == "ternary":
        return (Fraction(0), scale, -scale)[code]
    return code * scale + zero


def check(form: Format, codes: list[int], scale: np.float16, zero: np.float16) -> None:
    zero = zero if form.kind == "affine" else np.float16(0)
    quantized = Quantized(np.array([codes], np.uint8), np.array([[scale]]), np.array([[zero]]))
    got = form.decode_half(quantized).view(np.uint16).ravel().tolist()
    numbers = Fraction(float(scale)), Fraction(float(zero))
    assert got == [half_pattern(exact(form, code, *numbers)) for code in codes]


def half(pattern: int) -> np.float16:
    return np.uint16(pattern).view(np.float16)


finite = st.integers(0, 0x7BFF)


@given(st.sampled_from(FORMATS), st.data(), finite, finite, st.booleans())
@settings(max_examples=500)
def test_any_numbers(form: Format, data: st.DataObject, scale: int, zero: int, negative: bool) -> None:
    largest = 2 if form.kind == "ternary" else (1 << form.bits) - 1
    codes = data.draw(st.lists(st.integers(0, largest), min_size=GROUP, max_size=GROUP))
    check(form, codes, half(scale), half(zero | negative << 15))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.rule}{form.bits}")
def test_borders(form: Format) -> None:
    """Zeros of either sign, subnormals, cancellation, ties, and both sides of the largest number."""
    largest = 2 if form.kind == "ternary" else (1 << form.bits) - 1
    codes = [number % (largest + 1) for number in (*range(8), *range(largest - 7, largest + 1))]
    borders = (0, 1, 3, 0x3FF, 0x400, 0x401, 0x3C00, 0x3C01, 0x4BFF, 0x5C00, 0x7800, 0x7BFF)
    for scale in borders:
        for zero in borders:
            for sign in (0, 0x8000):
                check(form, codes, half(scale), half(zero | sign))


def test_numbers_that_are_read_off() -> None:
    def decode(form: Format, code: int, scale: float, zero: float = 0.0) -> float:
        codes = np.full((1, GROUP), code, np.uint8)
        return float(form.decode_half(Quantized(codes, *np.float16([[[scale]], [[zero]]])))[0, 0])

    native = Format("native", 8, "token", GROUP)
    assert decode(native, 200, 0.0, -3.5) == -3.5
    assert decode(native, 2, 1.0, 2049 - 1.0) == 2050  # 2050 itself
    assert decode(native, 1, 1.0, 2048.0) == 2048  # a tie goes to the even mantissa
    assert decode(native, 3, 1.0, 2048.0) == 2052
    assert decode(native, 255, 65504.0, 0.0) == 65504
    assert decode(native, 1, 16.0, 65504.0) == 65504  # 65520, the tie between the largest and the next
    assert decode(native, 15, 1.0, 65504.0) == 65504
    assert decode(Format("sign", 1, "token", GROUP), 0, 0.25) == -0.25
    assert decode(Format("ternary_scaled", 2, "token", GROUP), 2, 0.25) == -0.25
    assert not np.signbit(decode(Format("ternary_scaled", 2, "token", GROUP), 2, 0.0))
    assert not np.signbit(decode(native, 0, 1.0, -0.0))


def test_wider_metadata_are_refused() -> None:
    quantized = Format("hqq", 4, "token", GROUP).quantize(np.arange(GROUP, dtype=np.float16)[None])
    with pytest.raises(ValueError, match="hqq"):
        Format("hqq", 4, "token", GROUP).decode_half(quantized)
