"""BitMoD's types on the cache: every choice tried in fractions, pages bit by bit, attention on them."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.attention import decode
from golden.kv import bitmod
from golden.kv.affine import Quantized
from golden.kv.attention import attend
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import WINDOW, Scheme
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

MAGNITUDES = {3: (0, 1, 2, 4), 4: (0, 0.5, 1, 1.5, 2, 3, 4, 6)}
SPECIALS = {3: (3, -3, 6, -6), 4: (5, -5, 8, -8)}
"""The paper's values."""


def half(x: Fraction) -> Fraction:
    """The nearest float16, ties to even; at least 2^-24."""
    unit = Fraction(1, 2**24)
    while x >= 2048 * unit:
        unit *= 2
    return max(round(x / unit) * unit, Fraction(1, 2**24))


def coded(x: list[Fraction], values: list[Fraction]) -> tuple[list[Fraction], Fraction]:
    """What elements become with these values, in units of one half as the array has them, and the scale."""
    scale = half(max(map(abs, x)) / max(map(abs, values)))
    ascending = sorted(set(values))
    return [min(ascending, key=lambda value: (abs(one - value * scale), value)) for one in x], scale


Choice = tuple[list[Fraction], Fraction]


def exhaustive(x: list[Fraction], bits: int) -> tuple[int, list[Choice], Fraction]:
    """Which is the best of the four, values times scale and scale of each, and the squared error of none."""
    plain = [Fraction(2 * size) * sign for size in MAGNITUDES[bits] for sign in (1, -1)]
    found = []
    for special in (*SPECIALS[bits], None):
        values = plain if special is None else [*plain, Fraction(2 * special)]
        nearest, scale = coded(x, values)
        own = [value * scale for value in nearest]
        found.append((sum((a - b) ** 2 for a, b in zip(x, own, strict=True)), own, scale))
    best = min(range(4), key=lambda number: found[number][0])
    return best, [(own, scale) for _, own, scale in found[:4]], found[4][0]


def score(ratio: Fraction, bits: int, special: int | None, of: int) -> Fraction:
    """Squared error in 1024ths of the largest magnitude's square, at a ratio to it, positive values only."""
    values = [*MAGNITUDES[bits], *([special] if special else [])]
    largest = max(*MAGNITUDES[bits], of)
    return 1024 * min((ratio - Fraction(value) / Fraction(largest)) ** 2 for value in values)


def by_table(x: list[Fraction], bits: int) -> int:
    """The choice from 64 ratios to the largest magnitude, with sums of rounded scores."""
    inner, _, outer, _ = SPECIALS[bits]
    largest = max(map(abs, x))
    sums = [0, 0, 0]
    for one in x:
        ratio = min(Fraction(2 * (abs(one) * 64 // largest) + 1, 128), Fraction(1))
        plain = [score(ratio, bits, None, special) for special in (inner, outer)]
        own = [score(ratio, bits, special, special) for special in (inner, outer)]
        saved = [a - b for a, b in zip(plain, own, strict=True)]
        sign = -1 if one < 0 else 1
        sums[0] += sign * round(saved[0])
        sums[1] += sign * round(saved[1])
        sums[2] += round(2 * (plain[0] - plain[1]) - saved[0] + saved[1])
    is_outer = sums[2] - abs(sums[0]) + abs(sums[1]) > 0
    return 2 * is_outer + (sums[is_outer] < 0)


def check(x: np.ndarray, bits: int) -> None:
    group = [Fraction(float(one)) for one in x.ravel()]
    form = Format(f"bitmod{bits}", bits, "token", None)
    for search in bitmod.SEARCHES:
        codes, scale, selector = bitmod.quantize(x, f"bitmod{bits}", "token", None, search)
        values = [Fraction(float(v)) for v in form.decode(Quantized(codes, scale, selector)).ravel()]
        if not any(group):
            assert not any(part.any() for part in (codes, scale, selector))
            assert not any(values)
            continue
        number, choices, plain = exhaustive(group, bits)
        if search == "table":
            number = by_table(group, bits)
        own, step = choices[number]
        assert selector.ravel().tolist() == [number]
        assert Fraction(float(scale[0, 0])) == step
        assert values == own
        assert codes.max() < 1 << bits
        if search == "exhaustive":
            assert sum((a - b) ** 2 for a, b in zip(group, values, strict=True)) <= plain


@given(st.sampled_from([3, 4]), st.integers(0, 2**32 - 1), st.sampled_from([16, 32]), st.booleans())
@settings(max_examples=20)
def test_the_best_of_four(bits: int, seed: int, size: int, heavy: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, (1, size)) if heavy else rng.standard_normal((1, size))
    check((x * 2.0 ** rng.integers(-26, 9)).astype(np.float16), bits)


@given(
    st.sampled_from([3, 4]),
    st.lists(st.integers(0, 0x77FF), min_size=16, max_size=16),
    st.sampled_from([0x77FF, 0x1FFF, 0x3FF, 0x3F, 0x7]),
    st.integers(0, 2**16 - 1),
)
@settings(max_examples=30)
def test_any_patterns(bits: int, patterns: list[int], mask: int, signs: int) -> None:
    """Subnormals, zeros, elements far apart, exact ties; below where values saturate."""
    words = [pattern & mask | (signs >> place & 1) << 15 for place, pattern in enumerate(patterns)]
    check(np.array([words], np.uint16).view(np.float16), bits)


@pytest.mark.parametrize("bits", [3, 4])
def test_groups_that_are_read_off(bits: int) -> None:
    """The values themselves with each special one, which no other choice has without error."""
    for number, special in enumerate(SPECIALS[bits]):
        plain = [size * sign for size in MAGNITUDES[bits] for sign in (1, -1)]
        x = np.resize([*plain, special], 32).astype(np.float16)[None]
        codes, scale, selector = bitmod.quantize(x, f"bitmod{bits}", "token", None)
        assert selector.tolist() == [[number]]
        assert scale.tolist() == [[0.5]]
        assert (codes[x == special] == 1 << bits - 1).all()
        np.testing.assert_array_equal(
            Format(f"bitmod{bits}", bits, "token", None).decode(Quantized(codes, scale, selector)), x
        )


@pytest.mark.parametrize(("bits", "known"), [(3, 3.802e-2), (4, 9.579e-3)])
def test_error_on_normal_elements(rng: np.random.Generator, bits: int, known: float) -> None:
    """Groups of 128: the relative squared error known for weights, within six standard errors (2 %)."""
    x = rng.standard_normal((2048, 128)).astype(np.float16)
    form = Format(f"bitmod{bits}", bits, "token", 128)
    squares = np.square(x.astype(np.float64)).sum(1)
    errors = np.square(form.decode(form.quantize(x)) - x.astype(np.float64)).sum(1)
    found = errors.sum() / squares.sum()
    deviation = np.sqrt(np.square(errors - found * squares).sum()) / squares.sum()
    assert deviation < 4e-3 * known
    assert abs(found - known) < 6 * deviation


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group", [16, 32, 128])
@pytest.mark.parametrize("elements", ["normal", "heavy tails", "large channels", "offset"])
def test_the_table_is_near_the_exhaustive_search(
    rng: np.random.Generator, bits: int, group: int, elements: str
) -> None:
    """Squared errors; 0.5 % is the most that any of them has."""
    x = rng.standard_normal((1024, 128))
    if elements == "heavy tails":
        x = rng.standard_t(3, x.shape)
    elif elements == "large channels":
        x[:, ::32] *= rng.choice([3, 5, 8, 20, 40], 4)
    elif elements == "offset":
        x = 0.3 * x + rng.choice([-2, 2, 4], (1024, 1))
    form = Format(f"bitmod{bits}", bits, "token", group)
    half = x.astype(np.float16)
    table, least = (
        np.square(
            form.decode(bitmod.quantize(half, form.rule, "token", group, search)) - half.astype(float)
        ).sum()
        for search in ("table", "exhaustive")
    )
    assert least <= table < 1.01 * least


def test_searches_are_named() -> None:
    with pytest.raises(ValueError, match=r"^search 'quick' must be one of table, exhaustive$"):
        bitmod.quantize(np.ones((1, 32)), "bitmod4", search="quick")


@pytest.mark.parametrize(
    ("axis", "group"), [("token", 32), ("token", None), ("channel", 32), ("channel", 16)]
)
@pytest.mark.parametrize("bits", [3, 4])
def test_pages(rng: np.random.Generator, bits: int, axis: str, group: int | None) -> None:
    """A page is scales, then selectors of 2 bits, then codes; 18 bits a group."""
    form = Format(f"bitmod{bits}", bits, axis, group)
    for side, channels in product(("key", "value"), (64, 128)):
        layout = PageLayout(form, side, 32, channels)
        quantized = form.quantize(rng.standard_normal((3, 2, 32, channels)))
        packed = layout.pack(quantized)
        size = group or channels
        assert layout.bits_per_element == bits + 18 / size
        assert packed.shape == (3, 2, 32 * channels * (bits + 18 / size) / 8)
        for name, part in zip(Quantized._fields, layout.unpack(packed), strict=True):
            np.testing.assert_array_equal(part, getattr(quantized, name))
        groups = 32 * channels // size
        page = packed[1, 1].tobytes()
        total = int.from_bytes(page[2 * groups : 2 * groups + groups // 4], "little")
        own = quantized.selector[1, 1].ravel().tolist()
        assert [total >> 2 * place & 3 for place in range(groups)] == own
        assert np.frombuffer(page, "<f2", groups).tolist() == quantized.scale[1, 1].ravel().tolist()
        codes = int.from_bytes(page[2 * groups + groups // 4 :], "little")
        first = quantized.codes[1, 1].ravel()[layout.order].tolist()
        assert [codes >> bits * place & (1 << bits) - 1 for place in range(32 * channels)] == first


def test_selectors_fill_a_byte_up() -> None:
    layout = PageLayout(Format("bitmod4", 4, "channel", 32), "key", 32, 2, lanes=2)
    quantized = layout.format.quantize(np.tile([[8.0, -6.0]], (32, 1)))
    assert layout.metadata_bytes == 5
    assert layout.pack(quantized)[4] == quantized.selector[0, 0] | quantized.selector[0, 1] << 2
    with pytest.raises(ValueError, match=r"^selector has shape \(1, 1\), must be \(1, 2\)$"):
        layout.pack(quantized._replace(zero=quantized.zero[:, :1]))


@pytest.mark.parametrize("bits", [3, 4])
def test_schemes(rng: np.random.Generator, bits: int) -> None:
    """A cache of pages, its bytes, and attention in float32 against the decoded values in float64."""
    name = f"bitmod{bits}"
    key, value = Format(name, bits, "channel", 32), Format(name, bits, "token", 64)
    x, y = rng.standard_normal((2, 2, 100, 64))
    cache = Scheme(key, value, "paged", 0).compress(x, y)
    again = PagedCache.from_bytes(cache.to_bytes())
    for one, other in zip(cache.decompress(), again.decompress(), strict=True):
        np.testing.assert_array_equal(one, other)
    keys, values = (part.astype(np.float64) for part in again.decompress())
    paged = keys[:, :96]
    np.testing.assert_array_equal(paged[:, :32], key.decode(key.quantize(x[:, :32])))
    q = rng.standard_normal((4, 64)).astype(np.float32)
    scores = np.einsum("hrd,htd->hrt", q.reshape(2, 2, 64), keys) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("hrt,htd->hrd", weights / weights.sum(-1, keepdims=True), values).reshape(4, 64)
    np.testing.assert_allclose(attend(again, q), expected, rtol=1e-4, atol=1e-5)


def test_integers_need_selectors() -> None:
    form = Format("bitmod4", 4, "token", 32)
    with pytest.raises(ValueError, match=r"^rule 'bitmod4' must have selectors$"):
        form.integers(np.zeros((1, 32), np.uint8))


@pytest.mark.parametrize(("bits", "axes"), [(3, ("channel", "token")), (4, ("token", "channel"))])
def test_the_engines_numerics(rng: np.random.Generator, bits: int, axes: tuple[str, str]) -> None:
    """Attention in fixed point next to float32 on the same pages."""
    key, value = (Format(f"bitmod{bits}", bits, axis, 32) for axis in axes)
    cache = Scheme(key, value, "paged", 0, WINDOW).compress(*rng.standard_normal((2, 2, 70, 64)))
    q = rng.standard_normal((4, 64)).astype(np.float16)
    exact, found = attend(cache, q), decode.attend(cache, q, Numerics()).astype(np.float64)
    assert np.sqrt(np.square(found - exact).mean() / np.square(exact).mean()) < 5e-3
