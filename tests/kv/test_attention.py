"""Attention on packed pages: against the decompressed cache, and the array's numerics as rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest

from golden.kv import array
from golden.kv.attention import attend, attend_array
from golden.kv.cache import PagedCache
from golden.kv.formats import DECODES, Format
from golden.kv.rules import RULES
from golden.numbers import datatypes, scales
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach

pytestmark = pytest.mark.quick

NUMERICS = Numerics(group=64)
FLOAT16_LINES = ("kivi", "quanto", "zipcache", "mikv", "native")


def every_format(axis: str) -> list[Format]:
    trits_and_signs = [Format(rule, 1 if "sign" in rule else 2, axis, 32) for rule in DECODES]
    return [*(Format(rule, 4, axis, 32) for rule in RULES), *trits_and_signs, Format("native", 2, axis, None)]


def filled(
    rng: np.random.Generator, key: Format, value: Format, tokens: int = 150, page_tokens: int = 32
) -> tuple[PagedCache, np.ndarray]:
    """A cache of two heads and 64 channels, and four queries."""
    cache = PagedCache(key, value, 2, 64, page_tokens, 7, rng.permutation(20))
    keys, values = rng.standard_normal((2, 2, tokens, 64)) * 2 + rng.standard_normal(64) * 3
    cache.append(keys[:, :60], values[:, :60])
    cache.append(keys[:, 60:], values[:, 60:])
    return cache, rng.standard_normal((4, 64)).astype(np.float16)


def plain(cache: PagedCache, q: np.ndarray) -> np.ndarray:
    """Attention in float64 on the decompressed cache, head by head."""
    keys, values = (part.astype(np.float64) for part in cache.decompress())
    result = []
    for number, query in enumerate(q.astype(np.float64)):
        head = number // (len(q) // cache.heads)
        scores = keys[head] @ query / math.sqrt(cache.channels)
        weights = np.exp(scores - scores.max())
        result.append(weights @ values[head] / weights.sum())
    return np.array(result)


@pytest.mark.parametrize("axis", ["token", "channel"])
@pytest.mark.parametrize("place", range(len(every_format("token"))))
def test_packed_attention_is_attention_on_the_decompressed_cache(rng, axis: str, place: int) -> None:
    form = every_format(axis)[place]
    other = Format("native", 4, "channel", 32)
    for key, value, page_tokens in (form, other, 32), (other, form, 64), (form, form, 64):
        cache, q = filled(rng, key, value, page_tokens=page_tokens)
        expected = plain(cache, q)
        np.testing.assert_allclose(attend(cache, q), expected, atol=5e-6 * np.abs(expected).max())


@pytest.mark.parametrize("tokens", [1, 38, 39])
def test_short_caches(rng: np.random.Generator, tokens: int) -> None:
    """Only a window; a window on the brink; one page."""
    key, value = Format("native", 2, "channel", 32), Format("native", 2, "token", 32)
    cache = PagedCache(key, value, 2, 64, 32, 7)
    cache.append(*rng.standard_normal((2, 2, tokens, 64)))
    q = rng.standard_normal((2, 64)).astype(np.float16)
    assert cache.table.shape[2] == (tokens == 39)
    np.testing.assert_allclose(attend(cache, q), plain(cache, q), atol=1e-5)
    np.testing.assert_allclose(attend_array(cache, q, NUMERICS), plain(cache, q), atol=0.01)


@pytest.mark.parametrize("key_axis", ["token", "channel"])
@pytest.mark.parametrize("value_axis", ["token", "channel"])
@pytest.mark.parametrize("rule", [*FLOAT16_LINES, *DECODES])
def test_array_is_close_to_float(rng, rule: str, key_axis: str, value_axis: str) -> None:
    """Aligned activations of 12 bits keep about three digits."""
    bits = 4 if rule in RULES else 1 if "sign" in rule else 2
    cache, q = filled(rng, Format(rule, bits, key_axis, 32), Format(rule, bits, value_axis, 32))
    expected = attend(cache, q)
    error = np.abs(attend_array(cache, q, NUMERICS) - expected).max()
    assert error < 0.02 * np.abs(expected).max()


def exact(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def exponent_field(value: Fraction) -> int:
    """Exponent field of a float16, 1 for subnormals and zero."""
    field = 1
    while abs(value) >= Fraction(2) ** (field - 14):
        field += 1
    return field


def largest_field(step: np.ndarray, offset: np.ndarray) -> int:
    return max(exponent_field(value) for value in exact(np.concatenate([step.ravel(), offset.ravel()])))


def to_half(value: Fraction) -> Fraction:
    unit = Fraction(2) ** (exponent_field(value) - 25)
    return round(value / unit) * unit


def to_single(value: Fraction) -> float:
    """Round to 24 significant bits, ties to even; large enough not to be subnormal."""
    unit = Fraction(1, 2**100)
    while abs(value) >= 2**24 * unit:
        unit *= 2
    return float(round(value / unit) * unit)


def slow_accumulate(rows, activations, group, bound, step=None, offset=None, top=25) -> list[float]:
    """Rows of integers times one vector: alignment, floors and the last rounding as rationals."""
    width = NUMERICS.activation_bits
    halves = [to_half(value) for value in exact(activations)]
    starts = range(0, len(halves), group)
    fields = [max(exponent_field(value) for value in halves[first : first + group]) for first in starts]
    lowest = Fraction(2) ** (max(fields) - 15 - (width - 2) + top - 25 + bound - NUMERICS.alignment)
    results = []
    for number, row in enumerate(rows):
        total = 0
        for place, first in enumerate(starts):
            unit = Fraction(2) ** (fields[place] - 15 - (width - 2))
            aligned = []
            for value in halves[first : first + group]:
                integer = min(round(abs(value) / unit), 2 ** (width - 1) - 1)
                aligned.append(integer if value >= 0 else -integer)
            dot = sum(a * int(v) for a, v in zip(aligned, row[first : first + group], strict=True))
            weight = Fraction(float(step[number][place])) if step is not None else Fraction(1)
            total += math.floor(dot * weight * unit / lowest)
            if offset is not None:
                total += math.floor(sum(aligned) * Fraction(float(offset[number][place])) * unit / lowest)
        results.append(to_single(total * lowest))
    return results


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_array_scores_are_their_rational_arithmetic(rng: np.random.Generator, bits: int) -> None:
    """Keys scaled by token: steps and offsets through the rescale unit; by channel: folded into q."""
    q = rng.standard_normal(64).astype(np.float16).astype(np.float32)
    keys = (rng.standard_normal((1, 64, 64)) * 2.0 ** rng.integers(-9, 5, (1, 1, 64))).astype(np.float16)
    kind = datatypes.get("binary01" if bits == 1 else f"int{bits}_asym")
    for axis in "token", "channel":
        form = Format("native", bits, axis, 32)
        cache = PagedCache(form, form, 1, 64)
        cache.append(keys, keys)
        got = array.by_head(cache, "key", q[None, None], NUMERICS, array.scores)[0, 0]
        codes, step, offset = form.quantize(keys[0].reshape(2, 32, 64))
        expected = []
        top = largest_field(step, offset)
        for block in range(2):
            if axis == "token":
                bound = reach(64, 12, kind, scales.get("fp16"), True)
                expected += slow_accumulate(codes[block], q, 32, bound, step[block], offset[block], top)
                continue
            plain_bound = reach(64, 12, kind, scales.get("e8m0"), False)
            one_bound = reach(64, 12, datatypes.get("binary01"), scales.get("e8m0"), False)
            main = slow_accumulate(codes[block], q * step[block, 0], 64, plain_bound)
            shift = slow_accumulate([[1] * 64], q * offset[block, 0], 64, one_bound)
            expected += [float(np.float32(value) + np.float32(shift[0])) for value in main]
        assert got.tolist() == expected


def test_array_outputs_are_their_rational_arithmetic(rng: np.random.Generator) -> None:
    weights = np.exp(-rng.exponential(4, 64)).astype(np.float32)
    values = (rng.standard_normal((1, 64, 32)) * 2.0 ** rng.integers(-9, 5, (1, 64, 1))).astype(np.float16)
    kind = datatypes.get("int4_asym")
    halves = weights.astype(np.float16).astype(np.float32)
    for axis in "token", "channel":
        form = Format("kivi", 4, axis, 16)
        cache = PagedCache(form, form, 1, 32)
        cache.append(values, values)
        got = array.by_head(cache, "value", weights[None, None], NUMERICS, array.outputs)[0, 0]
        codes, step, offset = form.quantize(values[0])
        if axis == "channel":
            bound = reach(64, 12, kind, scales.get("fp16"), True)
            top = max(
                exponent_field(value) for value in exact(np.concatenate([step.ravel(), offset.ravel()]))
            )
            parts = [
                slow_accumulate(
                    codes[page].T, weights[page], 16, bound, step[groups].T, offset[groups].T, top
                )
                for page, groups in ((slice(0, 32), slice(0, 2)), (slice(32, 64), slice(2, 4)))
            ]
            assert got.tolist() == np.sum(parts, 0, np.float32).tolist()
            continue
        plain_bound = reach(64, 12, kind, scales.get("e8m0"), False)
        one_bound = reach(64, 12, datatypes.get("binary01"), scales.get("e8m0"), False)
        expected = []
        for group in range(2):
            total = np.zeros(16, np.float32)
            for page in (slice(0, 32), slice(32, 64)):
                rows = codes[page, 16 * group : 16 * group + 16].T
                main = slow_accumulate(rows, halves[page] * step[page, group], 32, plain_bound)
                shift = slow_accumulate([[1] * 32], halves[page] * offset[page, group], 32, one_bound)
                total += np.float32(main) + np.float32(shift[0])
            expected += total.tolist()
        assert got.tolist() == expected


@pytest.mark.filterwarnings("error")
def test_activations_beyond_float16_are_nan(rng: np.random.Generator) -> None:
    """Of the query head only whose product with a step or offset becomes infinite."""
    form = Format("native", 4, "channel", 32)
    cache, q = filled(rng, form, form)
    q = q.astype(np.float32)
    q[1, 3] = 1e6
    result = attend_array(cache, q, NUMERICS)
    assert np.isnan(result[1]).all()
    assert np.isfinite(np.delete(result, 1, 0)).all()


def test_illegal_arguments(rng: np.random.Generator) -> None:
    form = Format("native", 4, "token", 64)
    cache, q = filled(rng, form, form)
    with pytest.raises(ValueError, match=r"^q of shape \(3, 64\) must be \[n \* 2, 64\]$"):
        attend(cache, q[:3])
    with pytest.raises(ValueError, match=r"^cache must hold at least one token$"):
        attend(PagedCache(form, form, 2, 64), q)
    with pytest.raises(ValueError, match=r"^group 64 of key must be at most 32$"):
        attend_array(cache, q, Numerics(group=32))
    with pytest.raises(ValueError, match=r"^cache of 150 tokens must have at most 128$"):
        attend_array(cache, q, Numerics(group=64, maximum_inputs=128))
    atom = Format("atom", 4, "token", 32)
    cache, q = filled(rng, atom, atom)
    with pytest.raises(
        ValueError, match=r"^key format 'atom' has steps or offsets that are not float16 numbers$"
    ):
        attend_array(cache, q, NUMERICS)
