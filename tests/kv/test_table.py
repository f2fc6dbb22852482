"""Tables of 16 values on the cache: every code in fractions, pages bit by bit, caches, attention on them."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import systems
from golden.attention import decode
from golden.kv import table
from golden.kv.attention import attend
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import Scheme
from golden.kv.table import IQ4_NL, NF4
from golden.numbers import datatypes
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.numbers.scales import get as scale_format

pytestmark = pytest.mark.quick

SMALLEST = Fraction(1, 2**24)
POSITIVE = tuple(range(5, 85, 5))
TABLES = {
    "nf4": NF4,
    "iq4_nl": IQ4_NL,
    "positive": POSITIVE,
    "zero": (0,) * 16,
    "twice": (-127, -127, 3, 3, 127, 127, 0, 0) * 2,
    "ends": (127,) * 8 + (-127,) * 8,
    "small": (-1, 0, 1, 0) * 4,
}


def half(x: Fraction) -> Fraction:
    """The nearest float16, ties to even; at least 2^-24."""
    unit = SMALLEST
    while x >= 2048 * unit:
        unit *= 2
    return max(round(x / unit) * unit, SMALLEST)


def coded(group: list[Fraction], values: tuple[int, ...]) -> tuple[Fraction, list[int]]:
    """Scale and codes of a group, as the docstring of ``golden.kv.table`` has them."""
    largest, most = max(map(abs, group)), max(map(abs, values))
    if not largest or not most:
        return Fraction(0), [0] * len(group)
    scale = half(largest / most)
    extreme = next(x for x in group if abs(x) == largest)
    if (most if extreme > 0 else -most) not in values:
        scale = -scale
    return scale, [min(range(16), key=lambda code: (abs(x - values[code] * scale), code)) for x in group]


def check(x: np.ndarray, values: tuple[int, ...]) -> None:
    """A group, element by element."""
    group = [Fraction(float(one)) for one in x.ravel()]
    form = Format("table", 4, "token", None, table=values)
    quantized = form.quantize(x)
    scale, codes = coded(group, values)
    assert Fraction(float(quantized.scale[0, 0])) == scale
    assert quantized.codes.ravel().tolist() == codes
    assert not quantized.zero.any()
    exact = [float(values[code] * scale) for code in codes]
    decoded = form.decode(quantized).ravel()
    np.testing.assert_array_equal(decoded, np.clip(exact, -65504, 65504).astype(np.float32))


@given(st.sampled_from([*TABLES]), st.integers(0, 2**32 - 1), st.sampled_from([16, 32]), st.booleans())
@settings(max_examples=40)
def test_nearest_entries(name: str, seed: int, size: int, heavy: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, (1, size)) if heavy else rng.standard_normal((1, size))
    check((x * 2.0 ** rng.integers(-26, 9)).astype(np.float16), TABLES[name])


@given(
    st.lists(st.integers(-127, 127), min_size=16, max_size=16),
    st.lists(st.integers(0, 0x7BFF), min_size=16, max_size=16),
    st.sampled_from([0x7BFF, 0x1FFF, 0x3FF, 0x3F, 0x7]),
    st.integers(0, 2**16 - 1),
)
@settings(max_examples=60)
def test_any_tables_and_patterns(values: list[int], patterns: list[int], mask: int, signs: int) -> None:
    """Subnormals, zeros, elements far apart; entries in any order, with some twice."""
    words = [min(pattern & mask, 0x7BFF) | (signs >> n & 1) << 15 for n, pattern in enumerate(patterns)]
    check(np.array([words], np.uint16).view(np.float16), tuple(values))


def test_ties_take_the_smaller_code() -> None:
    """Elements halfway between two entries, entries that are there twice, and either sign of the scale."""
    values = (10, -10, 0, 20, -20, 30, -30, 126, 4, -4, 8, -8, 2, -2, 10, 20)
    x = np.array([126, 15, -15, 25, 1, -1, 10, 20, 3, 6, -6, 0, 5, -5, -25, 9], np.float16)
    codes = [7, 0, 1, 3, 2, 2, 0, 3, 8, 8, 9, 2, 8, 9, 4, 0]
    form = Format("table", 4, "token", None, table=values)
    assert form.quantize(x[None]).codes.tolist() == [codes]
    turned = form.quantize(-x[None])
    assert turned.scale.tolist() == [[-1.0]]
    assert turned.codes.tolist() == [codes]
    check(x[None], values)
    check(-x[None], values)


def test_ready_made_tables() -> None:
    """NF4's entries are the published values times 127, IQ4_NL's those of GGUF files."""
    assert NF4 == (-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127)
    assert IQ4_NL[0] == -127
    assert IQ4_NL[-1] == 113
    assert table.rounded(np.array(NF4)[::-1] / 5.0) == NF4


@pytest.mark.parametrize(("values", "most"), [(NF4, 8e-3), (IQ4_NL, 6.7e-3)], ids=["nf4", "iq4_nl"])
def test_error_on_normal_elements(rng: np.random.Generator, values: tuple[int, ...], most: float) -> None:
    x = rng.standard_normal((1024, 128)).astype(np.float16)
    form = Format("table", 4, "token", 32, table=values)
    error = np.square(form.decode(form.quantize(x)) - x.astype(np.float64)).sum()
    assert 0.9 * most < error / np.square(x.astype(np.float64)).sum() < most


@pytest.mark.parametrize(
    ("axis", "group"), [("token", 32), ("token", None), ("channel", 32), ("channel", 16)]
)
def test_pages(rng: np.random.Generator, axis: str, group: int | None) -> None:
    """A page is scales, then codes as they are."""
    form = Format("table", 4, axis, group, table=IQ4_NL)
    for side, channels in product(("key", "value"), (64, 128)):
        layout = PageLayout(form, side, 32, channels)
        quantized = form.quantize(rng.standard_normal((3, 2, 32, channels)))
        packed = layout.pack(quantized)
        size = group or channels
        assert layout.bits_per_element == 4 + 16 / size
        again = layout.unpack(packed)
        for part, own in zip(again, quantized, strict=True):
            np.testing.assert_array_equal(part, own)
        groups = 32 * channels // size
        page = packed[1, 1].tobytes()
        assert np.frombuffer(page, "<f2", groups).tolist() == quantized.scale[1, 1].ravel().tolist()
        codes = int.from_bytes(page[2 * groups :], "little")
        first = quantized.codes[1, 1].ravel()[layout.order].tolist()
        assert [codes >> 4 * place & 15 for place in range(32 * channels)] == first


@pytest.mark.parametrize("name", ["nf4", "iq4_nl_token", "native4_iq4_nl"])
def test_schemes(rng: np.random.Generator, name: str) -> None:
    """A cache, its bytes with the tables, and both attentions against the decoded values in float64."""
    scheme = systems.get(name)
    assert isinstance(scheme, Scheme)
    assert scheme.bits_per_element(64) == 4.5
    cache = scheme.compress(*rng.standard_normal((2, 2, 150, 64)), page_tokens=64)
    again = PagedCache.from_bytes(cache.to_bytes())
    assert again.layouts == cache.layouts
    for one, other in zip(cache.decompress(), again.decompress(), strict=True):
        np.testing.assert_array_equal(one, other)
    keys, values = (part.astype(np.float64) for part in again.decompress())
    q = rng.standard_normal((4, 64)).astype(np.float16)
    scores = np.einsum("hrd,htd->hrt", q.reshape(2, 2, 64).astype(np.float64), keys) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("hrt,htd->hrd", weights / weights.sum(-1, keepdims=True), values).reshape(4, 64)
    np.testing.assert_allclose(attend(again, q), expected, rtol=1e-4, atol=1e-5)
    found = decode.attend(again, q, Numerics()).astype(np.float64)
    assert np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()) < 5e-3


def test_sides_have_tables_of_their_own(rng: np.random.Generator) -> None:
    forms = [Format("table", 4, "token", 32, table=TABLES[name]) for name in ("iq4_nl", "positive")]
    x = rng.standard_normal((2, 1, 32, 64))
    cache = PagedCache.from_bytes(Scheme(*forms, "paged", 0).compress(*x).to_bytes())
    for side, form, own in zip(cache.decompress(), forms, x, strict=True):
        np.testing.assert_array_equal(side, form.decode(form.quantize(own)))
    damaged = cache.to_bytes().replace(b"113]", b"413]", 1)
    with pytest.raises(ValueError, match=r"^not a stored KV cache: table .* must be 16 integers"):
        PagedCache.from_bytes(damaged)


def test_all_tables_are_aligned_alike() -> None:
    """Sums have their places before a table is known, so that small entries do not move them."""
    for name in TABLES:
        dtype = datatypes.table(name, TABLES[name])
        assert reach(128, 12, dtype, scale_format("fp16"), True) == reach(
            128, 12, datatypes.table("any", (127,) * 16), scale_format("fp16"), True
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, r"table None must be 16 integers within \+-127"),
        ("0123456789abcdef", r"table '0123456789abcdef' must be 16 integers within \+-127"),
        ((1,) * 15, r"table \(1, .*\) must be 16 integers within \+-127"),
        ((*range(15), 128), r"table .* must be 16 integers within \+-127"),
        ((*range(15), 1.5), r"table .* must be 16 integers within \+-127"),
    ],
)
def test_illegal_tables(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Format("table", 4, table=values)  # type: ignore[arg-type]


def test_other_rules_have_none() -> None:
    with pytest.raises(ValueError, match=r"^table of rule 'native' must be None$"):
        Format("native", 4, table=NF4)
    with pytest.raises(ValueError, match=r"^bits 3 of rule 'table' must be one of 4$"):
        Format("table", 3, table=NF4)
    with pytest.raises(ValueError, match=r"^centres .* must be 16 finite values, not all 0$"):
        table.rounded(np.zeros(16))
