"""The table of data types: published value sets, the split into terms, and independent oracles."""

import re

import numpy as np
import pytest

from golden.numbers import datatypes

pytestmark = pytest.mark.quick

EVERY = [datatypes.get(name) for name in datatypes.names()]
FP3 = (0, 1, 2, 4)
FP4 = (0, 0.5, 1, 1.5, 2, 3, 4, 6)
FP6_E2M3 = (*range(17), *range(18, 33, 2), *range(36, 61, 4))
FP6_E3M2 = (*range(9), *range(10, 17, 2), *range(20, 33, 4), *range(40, 65, 8), *range(80, 129, 16))
FP6_E3M2 += (*range(160, 257, 32), 320, 384, 448)

# Magnitudes in the source's units (BitMoD Table IV, OCP Microscaling, ANT), specials in search order, levels.
PUBLISHED = {
    "binary": ((1,), (), 2),
    "ternary": ((0, 1), (), 3),
    "fp3": (FP3, (), 7),
    "fp3_er": (FP3, (3, -3), 8),
    "fp3_ea": (FP3, (6, -6), 8),
    "bitmod3": (FP3, (3, -3, 6, -6), 8),
    "fp4": (FP4, (), 15),
    "fp4_er": (FP4, (5, -5), 16),
    "fp4_ea": (FP4, (8, -8), 16),
    "bitmod4": (FP4, (5, -5, 8, -8), 16),
    "e2m1": (FP4, (), 15),
    "flint4": ((0, 1, 2, 3, 4, 6, 8, 16), (), 15),
    "e2m3": (tuple(value / 8 for value in FP6_E2M3), (), 63),
    "e3m2": (tuple(value / 16 for value in FP6_E3M2), (), 63),
}
TERMS = {"int5": 2, "int6": 2, "int7": 2, "int8": 2, "e2m3": 2, "e3m2": 3}


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_the_published_ones(name: str) -> None:
    kind = datatypes.get(name)
    magnitudes, specials, levels = PUBLISHED[name]
    assert tuple(special * kind.step for special in kind.specials if special) == specials
    for selector in range(max(len(kind.specials), 1)):
        values = {float(value) for value in kind.values(selector) * kind.step}
        expected = {sign * magnitude for magnitude in magnitudes for sign in (1.0, -1.0)}
        assert values == expected | set(specials[selector : selector + 1])
        assert len(values) == levels


@pytest.mark.parametrize("name", PUBLISHED)
def test_codes_are_in_the_order_of_sign_and_magnitude(name: str) -> None:
    """The upper half negates the lower one; its first code is the special value, or a second zero."""
    kind = datatypes.get(name)
    if kind.decoder == "integer":
        assert kind.integers == {"binary": (1, -1), "ternary": (0, 1, -1)}[name]
        return
    magnitudes = [magnitude / kind.step for magnitude in PUBLISHED[name][0]]
    negative_zero = 0 if name in ("flint4", "e2m3", "e3m2") else None
    negatives = [negative_zero, *(-magnitude for magnitude in magnitudes[1:])]
    assert list(kind.integers) == magnitudes + negatives


def test_bits() -> None:
    """Those of the name, but for a few."""
    others = {"binary": 1, "binary01": 1, "ternary": 2, "e2m1": 4, "e2m3": 6, "e3m2": 6}
    for name in datatypes.names():
        assert datatypes.get(name).bits == (others.get(name) or int(re.sub(r"\D", "", name)))
    assert datatypes.get("binary01").integers == (0, 1)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("suffix", ["", "_asym"])
def test_integers_have_the_range_of_twos_complement(bits: int, suffix: str) -> None:
    kind = datatypes.get(f"int{bits}{suffix}")
    half = 1 << bits - 1
    assert kind.bits == bits
    assert kind.asymmetric == bool(suffix)
    assert kind.uniform
    assert sorted(kind.values()) == list(range(-half, half))
    numbers = np.arange(-half, half)
    np.testing.assert_array_equal(kind.values()[kind.code_of[numbers]], numbers)
    np.testing.assert_array_equal(kind.code_of[numbers & 2 * half - 1], kind.code_of[numbers])


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("int2", {0: 0, 1: 1, 3: -1, 2: -2}),
        ("int4", {0b0111: 7, 0b1001: -1, 0b1111: -7, 0b1000: -8}),
        ("int5", {0b0_0111: 7, 0b1_1001: 16 - 1, 0b1_0000: -16, 0b1_0111: -16 + 7, 0b0_1000: -8}),
        (
            "int8",
            {0b0111_0111: 119, 0b1000_1000: 128 - 8, 0b1000_1001: 127, 0b1000_0000: -128, 0b1001_1001: -17},
        ),
    ],
)
def test_integer_digits_are_sign_and_magnitude(name: str, examples: dict[int, int]) -> None:
    values = datatypes.get(name).values()
    assert {code: int(values[code]) for code in examples} == examples


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_terms_rebuild_every_value(kind: datatypes.DataType) -> None:
    for value in {int(v) for s in range(max(len(kind.specials), 1)) for v in kind.values(s)}:
        terms = kind.terms(value)
        assert not any(term.negative and not kind.term_value(term) for term in terms), "zero has no sign"
        assert len(terms) == kind.term_count == len(kind.shifts)
        assert sum(kind.term_value(t) << shift for t, shift in zip(terms, kind.shifts, strict=True)) == value


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_a_type_takes_the_fewest_digits_its_width_allows(kind: datatypes.DataType) -> None:
    assert kind.term_count == TERMS.get(kind.name.removesuffix("_asym"), 1)
    assert kind.term_count <= datatypes.MAXIMUM_TERMS
    assert list(kind.shifts) == sorted(set(kind.shifts), reverse=True)


@pytest.mark.parametrize(
    ("name", "base"), [*((f"int{bits}", 16) for bits in range(2, 9)), ("e2m3", 8), ("e3m2", 8)]
)
def test_terms_are_digits(name: str, base: int) -> None:
    """Of integers -8..7 after the first, which may be 8; of minifloats digits of the magnitude."""
    kind = datatypes.get(name)
    for value in map(int, kind.values()):
        digits = [kind.term_value(term) for term in kind.terms(value)]
        assert sum(digit * base**place for place, digit in enumerate(reversed(digits))) == value
        if base == 16:
            assert -8 <= digits[0] <= 8
            assert all(-8 <= digit <= 7 for digit in digits[1:])
        else:
            assert all(0 <= abs(digit) <= 7 and digit * value >= 0 for digit in digits)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_special_terms_are_what_negative_zero_stands_for(kind: datatypes.DataType) -> None:
    values = [kind.term_value(term) for term in kind.special_terms]
    digits = {4: [-8], 3: [-4], 2: [-2], 8: [-8, -8], 7: [-4, -8], 6: [-2, -8], 5: [-1, -8]}
    expected = digits[kind.bits] if kind.name.startswith("int") else list(kind.specials)
    assert values == [*expected, *[0] * (datatypes.SPECIALS - len(expected))]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_programmable_magnitudes_are_among_the_choices(kind: datatypes.DataType) -> None:
    chosen = zip(datatypes.PROGRAMMABLE_MAGNITUDES, kind.programming, strict=True)
    assert tuple(pair[index] for pair, index in chosen) == kind.programmable


def digit(nibble: int, width: int, positive: bool) -> int:
    """A digit of sign and magnitude in a nibble; "-0" is the end of the range that its place calls for."""
    sign, magnitude = nibble >> 3, nibble & 7
    if sign and not magnitude:
        return 1 << width - 1 if positive else -(1 << width - 1)
    return -magnitude if sign else magnitude


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_lanes_of_every_code(kind: datatypes.DataType) -> None:
    """A byte a code: integers as digits in nibbles, the codes of other types at the top, zeros below."""
    lanes = [kind.lane(code) for code in range(len(kind.integers))]
    assert len(set(lanes)) == len(lanes)
    assert max(lanes) < 256
    if kind.decoder != "integer":
        assert lanes == [code << 8 - kind.bits for code in range(1 << kind.bits)]
        return
    width = kind.bits - 4 if kind.bits > 4 else kind.bits
    for lane, integer in zip(lanes, kind.integers, strict=True):
        low = digit(lane & 15, 4, False) if kind.bits > 4 else 0
        assert kind.bits > 4 or lane & 15 == 0
        assert digit(lane >> 4, width, low < 0) * (16 if kind.bits > 4 else 1) + low == integer


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_codes_fill_their_bits(kind: datatypes.DataType) -> None:
    """All but those of ternary; hardware holds three terms, ten magnitudes and four specials."""
    assert len(kind.integers) == (3 if kind.name == "ternary" else 1 << kind.bits)
    assert kind.packed_bits == (8 / 5 if kind.name == "ternary" else kind.bits)
    assert kind.magnitudes == (0, 1, 2, 3, 4, 6, 8, 12, *kind.programmable)
    assert len(kind.specials) <= datatypes.SPECIALS == 4
    assert (datatypes.MAXIMUM_TERMS, datatypes.LANE_BITS) == (3, 8)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [("e2m1", "float4_e2m1fn"), ("e2m3", "float6_e2m3fn"), ("e3m2", "float6_e3m2fn")],
)
def test_small_floats_equal_an_independent_implementation(name: str, oracle: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    kind = datatypes.get(name)
    codes = np.arange(1 << kind.bits, dtype=np.uint8)
    expected = codes.view(getattr(ml_dtypes, oracle)).astype(np.float64)
    np.testing.assert_array_equal(kind.values() * kind.step, expected)


def test_metadata_bits() -> None:
    assert [datatypes.get(name).selector_bits for name in ("bitmod3", "bitmod4", "fp4_ea", "fp4")] == [
        2,
        2,
        1,
        0,
    ]


def test_unknown_names_and_selectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^data type 'int9' must be one of binary, .*e3m2$"):
        datatypes.get("int9")
    for selector in 4, -1:
        with pytest.raises(ValueError, match=re.escape(f"selector {selector} of bitmod4 must be 0..3")):
            datatypes.get("bitmod4").values(selector)
    with pytest.raises(ValueError, match=re.escape("selector 1 of fp4 must be 0..0")):
        datatypes.get("fp4").values(1)
    with pytest.raises(ValueError, match=re.escape("is not a magnitude of fp4")):
        datatypes.get("fp4").terms(5)
