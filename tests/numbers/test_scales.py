"""Scale formats: the bits that packets and circuits count on."""

import pytest

from golden.numbers import scales

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("name", "bits", "significand_bits"), [("int8", 8, 8), ("fp16", 16, 11), ("e8m0", 8, 1), ("e4m3", 8, 4)]
)
def test_bits(name: str, bits: int, significand_bits: int) -> None:
    form = scales.get(name)
    assert (form.name, form.bits, form.significand_bits) == (name, bits, significand_bits)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"^scale 'fp8' must be one of int8, fp16, e8m0, e4m3$"):
        scales.get("fp8")
