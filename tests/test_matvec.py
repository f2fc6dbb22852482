"""Golden products: near float64, equal to their formula in Python integers, safe at the limits."""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.matvec import matvec as product
from golden.matvec import matvec_bits
from golden.numbers import datatypes, floats, scales
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.pe import matvec
from golden.weights.quantized import QuantizedWeights, quantize
from hw.config import Config, preset

pytestmark = pytest.mark.quick

TINY = preset("tiny")
FORMATS = ("fp16", "bf16")
OUTPUTS = ("fp16", "bf16", "fp32")
FIELDS = {"fp16": (5, 10), "bf16": (8, 7)}


def random_weights(
    rng: np.random.Generator,
    dtype: str,
    scale: str = "int8",
    shape: tuple[int, int] = (3, 80),
    group: int = 32,
    offset: bool = False,
    extreme: int = 0,
) -> QuantizedWeights:
    """Any bit patterns, or (``extreme`` 1 or -1) the largest of everything, all contributions of one sign."""
    kind, form = datatypes.get(dtype), scales.get(scale)
    per_group = (shape[0], -(-shape[1] // group))
    half = (1 << kind.bits - 1) * kind.asymmetric
    top = (1 << form.significand_bits) - 1

    def draw(low: int, high: int, *size: int) -> np.ndarray:
        return rng.integers(low, high + 1, size)

    selector = draw(0, max(len(kind.specials), 1) - 1, *per_group)
    q = QuantizedWeights(
        dtype=kind,
        group=group,
        scale_format=form,
        codes=draw(0, len(kind.integers) - 1, *shape).astype(np.uint8),
        selector=selector.astype(np.uint8),
        scale_mantissa=draw(top if form.mantissa_bits == 0 else 0, top, *per_group).astype(np.uint16),
        scale_distance=draw(0, min((1 << form.distance_bits) - 1, 12), *per_group).astype(np.uint8),
        zero_point=draw(min(1 - half, half), half, *per_group).astype(np.int16),
        channel_exponent=draw(-12, 4, shape[0]).astype(np.int16),
        offset_mantissa=draw(-2047, 2047, *per_group).astype(np.int16) if offset else None,
        offset_distance=draw(0, 12, *per_group).astype(np.uint8) if offset else None,
    )
    return _largest(q, extreme) if extreme else q


def _largest(q: QuantizedWeights, sign: int) -> QuantizedWeights:
    """The largest magnitudes a matrix of this kind can hold, all of one sign."""
    tables = [q.dtype.values(selector) for selector in range(max(len(q.dtype.specials), 1))]
    half = (1 << q.dtype.bits - 1) * q.dtype.asymmetric
    point = half if sign > 0 else min(1 - half, 0)
    reached = [int((sign * (table + point)).max()) for table in tables]
    selector = int(np.argmax(reached))
    mantissa = (1 << q.scale_format.significand_bits) - 1
    changes: dict[str, Any] = {
        "codes": np.full_like(q.codes, int(np.argmax(sign * tables[selector]))),
        "selector": np.full_like(q.selector, selector),
        "scale_mantissa": np.full_like(q.scale_mantissa, mantissa),
        "scale_distance": np.zeros_like(q.scale_distance),
        "zero_point": np.full_like(q.zero_point, point),
    }
    if q.offset_mantissa is not None and q.offset_distance is not None:
        changes["offset_mantissa"] = np.full_like(q.offset_mantissa, sign * 2047)
        changes["offset_distance"] = np.zeros_like(q.offset_distance)
    return dataclasses.replace(q, **changes)


def slow_align(bits: list[int], fmt: str, width: int) -> tuple[int, list[int]]:
    """Exponent field and integers of one group, from the definition."""
    exponent_bits, fraction_bits = FIELDS[fmt]
    fields, significands = [], []
    for pattern in bits:
        field, fraction = (
            pattern >> fraction_bits & (1 << exponent_bits) - 1,
            pattern & (1 << fraction_bits) - 1,
        )
        fields.append(max(field, 1))
        significands.append(fraction + (1 << fraction_bits) * (field > 0))
    shared, integers = max(fields), []
    for pattern, field, significand in zip(bits, fields, significands, strict=True):
        exact = Fraction(significand) * Fraction(2) ** (width - 2 - fraction_bits + field - shared)
        magnitude = min(round(exact), (1 << width - 1) - 1)  # round() goes to even
        integers.append(-magnitude if pattern >> 15 else magnitude)
    return shared, integers


def slow_sum(q: QuantizedWeights, row: int, bits: list[int], fmt: str, numerics: Numerics) -> Fraction:
    """Exact value of one output before its last rounding: the whole formula in Python integers."""
    offset = q.offset_mantissa is not None
    bound = reach(numerics.group, numerics.activation_bits, q.dtype, q.scale_format, offset)
    starts = range(0, len(bits), q.group)
    groups = [slow_align(bits[start : start + q.group], fmt, numerics.activation_bits) for start in starts]
    reference = max(shared for shared, _ in groups)
    total = 0
    for g, (shared, integers) in enumerate(groups):
        table = q.dtype.values(int(q.selector[row, g])).tolist()
        codes = q.codes[row, g * q.group :][: len(integers)].tolist()
        parts = [
            (
                sum(a * (table[c] + int(q.zero_point[row, g])) for a, c in zip(integers, codes, strict=True))
                * int(q.scale_mantissa[row, g]),
                int(q.scale_distance[row, g]),
            )
        ]
        if q.offset_mantissa is not None and q.offset_distance is not None:
            parts.append((sum(integers) * int(q.offset_mantissa[row, g]), int(q.offset_distance[row, g])))
        for exact, distance in parts:
            left = numerics.alignment - bound - (reference - shared) - distance
            total += exact << left if left >= 0 else exact >> -left
    assert -(1 << numerics.accumulator_bits - 1) <= total < 1 << numerics.accumulator_bits - 1
    bias = (1 << FIELDS[fmt][0] - 1) - 1
    unit = int(q.channel_exponent[row]) + reference - bias - (numerics.activation_bits - 2)
    return total * Fraction(2) ** (unit + bound - numerics.alignment)


def activations(rng: np.random.Generator, count: int, fmt: str = "fp16", spread: float = 2.0) -> np.ndarray:
    """Bit patterns [count] of random numbers whose magnitudes differ, all finite."""
    x = rng.standard_normal(count) * np.exp2(rng.normal(0, spread, count))
    return floats.encode(np.clip(x, -65504, 65504).astype(np.float32), fmt)


@pytest.mark.parametrize("offset", [False, True], ids=["plain", "offset"])
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("dtype", ["ternary", "int3_asym", "int8", "bitmod4", "e3m2"])
def test_formula_in_python_integers(dtype: str, fmt: str, offset: bool, rng: np.random.Generator) -> None:
    """Bit for bit: the exact sum, rounded by NumPy where it has the format."""
    for form in scales.FORMATS:
        q = random_weights(rng, dtype, form.name, offset=offset)
        bits = activations(rng, 80, fmt, spread=rng.choice((0.5, 4.0)))
        exact = [slow_sum(q, row, bits.tolist(), fmt, TINY.numerics) for row in range(3)]
        for output, kind, shown in (("fp16", np.float16, np.uint16), ("fp32", np.float32, np.uint32)):
            found, overflow = matvec_bits(q, bits[None], TINY, fmt, output)
            with np.errstate(over="ignore", under="ignore"):
                expected = np.array([float(value) for value in exact]).astype(kind)
            assert found[0].tolist() == expected.view(shown).tolist()
            assert overflow[0].tolist() == np.isinf(expected).tolist()


@pytest.mark.parametrize("dtype", datatypes.names())
def test_close_to_float64(dtype: str) -> None:
    """Real weights, all types: the relative RMS error is that of 12-bit activations."""
    rng = np.random.default_rng(1)
    q = quantize(rng.standard_normal((24, 512)).astype(np.float32), dtype, group=32)
    x = rng.standard_normal(512).astype(np.float16).astype(np.float32)
    exact = q.dequantize() @ x.astype(np.float64)
    error = product(q, x, TINY, output="fp32") - exact
    assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(exact**2))


@given(st.integers(0, 2**32 - 1), st.sampled_from(OUTPUTS), st.booleans())
@settings(max_examples=25)
def test_group_order_does_not_matter(seed: int, output: str, offset: bool) -> None:
    """Whole groups in another order give the same bits."""
    rng = np.random.default_rng(seed)
    q = random_weights(rng, "int4_asym", "fp16", (3, 160), offset=offset)
    bits, order = activations(rng, 160)[None], rng.permutation(5)
    inputs = (order[:, None] * 32 + np.arange(32)).ravel()
    names = ["selector", "scale_mantissa", "scale_distance", "zero_point"]
    names += ["offset_mantissa", "offset_distance"] if offset else []
    changes = {name: getattr(q, name)[:, order] for name in names}
    shuffled = dataclasses.replace(q, codes=q.codes[:, inputs], **changes)
    found = matvec_bits(shuffled, bits[:, inputs], TINY, output=output)[0]
    assert found.tolist() == matvec_bits(q, bits, TINY, output=output)[0].tolist()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_special_vector(value: float, fmt: str, output: str) -> None:
    """One NaN or infinity makes all its vector's results NaN, without an overflow, and no other vector's."""
    rng = np.random.default_rng(2)
    q = random_weights(rng, "bitmod4")
    x = rng.standard_normal((2, 80)).astype(np.float32)
    clean = product(q, x, TINY, fmt, output)
    x[0, 77] = value
    found = product(q, x, TINY, fmt, output)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == clean[1].tolist()
    assert not matvec_bits(q, floats.encode(x, fmt), TINY, fmt, output)[1].any()


@pytest.mark.parametrize("zero", [0x0000, 0x8000])
def test_zero_vector(zero: int) -> None:
    """Zeros of either sign give +0, offsets and zero points notwithstanding."""
    q = random_weights(np.random.default_rng(3), "int4_asym", "fp16", offset=True)
    found, overflow = matvec_bits(q, np.full((2, 80), zero, np.uint16), TINY)
    assert not found.any()
    assert not overflow.any()


def test_overflow() -> None:
    """The flag belongs to the output that became infinite, and to the format."""
    q = random_weights(np.random.default_rng(4), "int8", extreme=1)
    q = dataclasses.replace(q, channel_exponent=np.array([-12, 0, -12], np.int16))
    bits = floats.encode(np.full((1, 80), 60000, np.float32), "fp16")
    bits[0, 1::2] ^= 0x8000
    bits[0, 0] = 0x7BFF
    assert not matvec_bits(q, bits, TINY, output="fp32")[1].any()
    found, overflow = matvec_bits(q, np.abs(bits.view(np.int16)).view(np.uint16) & 0x7FFF, TINY)
    assert overflow.tolist() == np.isinf(floats.decode(found, "fp16")).tolist()
    assert overflow[0, 1]


@pytest.mark.parametrize("inputs", [1, 31, 33, 63, 65])
def test_short_last_group(inputs: int) -> None:
    """A short group is the same as one filled up with zeros."""
    rng = np.random.default_rng(5)
    full = random_weights(rng, "int4_asym", "fp16", (3, 96))
    groups = -(-inputs // 32)
    names = ("selector", "scale_mantissa", "scale_distance", "zero_point")
    changes = {name: getattr(full, name)[:, :groups] for name in names}
    short = dataclasses.replace(full, codes=full.codes[:, :inputs], **changes)
    padded = dataclasses.replace(full, codes=full.codes[:, : 32 * groups], **changes)
    bits = activations(rng, inputs)[None]
    filled = np.pad(bits, ((0, 0), (0, 32 * groups - inputs)))
    assert matvec_bits(short, bits, TINY)[0].tolist() == matvec_bits(padded, filled, TINY)[0].tolist()


def test_zero_point_is_exact() -> None:
    """Codes at their zero code mean zero weights: exactly nothing, whatever the activations."""
    rng = np.random.default_rng(6)
    q = random_weights(rng, "int4_asym")
    values = q.dtype.values()
    codes = np.array([np.flatnonzero(values == -point)[0] for point in range(-7, 9)], np.uint8)
    per_input = np.repeat(q.zero_point, q.group, axis=1)[:, :80]
    q = dataclasses.replace(q, codes=codes[per_input + 7])
    assert not q.dequantize().any()
    assert not matvec_bits(q, activations(rng, 80, spread=4.0)[None], TINY, output="fp32")[0].any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("offset", [False, True], ids=["plain", "offset"])
@pytest.mark.parametrize(
    ("bits", "inputs", "longest", "group"),
    [(24, 512, 16, 16), (24, 496, 16, 16), (28, 512, 32, 32), (28, 512, 128, 16), (28, 384, 128, 32)],
)
def test_no_sum_overflows(
    bits: int,
    inputs: int,
    longest: int,
    group: int,
    offset: bool,
    sign: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest codes, scales, offsets and activations, in the longest vector, fit the accumulator."""
    config = Config(lanes=4, accumulator_bits=bits, maximum_inputs=inputs, group=longest)
    limit, totals = 1 << bits - 1, []

    def observed(values: np.ndarray, *others: Any) -> Any:
        totals.append(values)
        return convert(values, *others)

    convert = matvec.convert
    monkeypatch.setattr(matvec, "convert", observed)
    rng = np.random.default_rng(7)
    for dtype in datatypes.names():
        for form in scales.FORMATS:
            q = random_weights(rng, dtype, form.name, (1, inputs), group, offset, extreme=sign)
            matvec_bits(q, np.full((1, inputs), 0x3FFF, np.uint16), config)
            matvec_bits(q, np.full((1, inputs), 0xBFFF, np.uint16), config)
    assert all(-limit <= total.min() and total.max() < limit for total in totals)
    assert max(np.abs(total).max() for total in totals) > limit // 4, "the extremes are not extreme"


@pytest.mark.parametrize("offset", [False, True], ids=["plain", "offset"])
@pytest.mark.parametrize("dtype", datatypes.names())
def test_a_longer_longest_group_changes_nothing(dtype: str, offset: bool, rng: np.random.Generator) -> None:
    """What was built for groups of 128 gives for shorter ones what was built for these gives."""
    built = {group: Config(lanes=4, group=group, maximum_inputs=512) for group in (16, 32, 64, 128)}
    for group, own in list(built.items())[:-1]:
        for form in scales.FORMATS:
            q = random_weights(rng, dtype, form.name, (4, 200), group, offset)
            for fmt, output in (("fp16", "fp32"), ("bf16", "fp16")):
                bits = activations(rng, 200, fmt, spread=3.0)[None]
                expected = matvec_bits(q, bits, own, fmt, output)
                for longer in (size for size in built if size > group):
                    np.testing.assert_array_equal(matvec_bits(q, bits, built[longer], fmt, output), expected)


def test_shapes_are_checked() -> None:
    q = random_weights(np.random.default_rng(8), "int4")
    with pytest.raises(ValueError, match=r"must be \[N, 80\]"):
        matvec_bits(q, np.zeros((1, 79), np.uint16), TINY)
    with pytest.raises(ValueError, match="group 32 must be one of 16, which activations"):
        matvec_bits(q, np.zeros((1, 80), np.uint16), Config(lanes=4, group=16, maximum_inputs=512))
    with pytest.raises(ValueError, match="inputs 80 must be at most 64"):
        matvec_bits(q, np.zeros((1, 80), np.uint16), Config(lanes=4, group=32, maximum_inputs=64))
