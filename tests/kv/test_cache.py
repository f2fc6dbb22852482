"""The paged cache: pages anywhere, a window of float16 tokens, every token quantised once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import golden.kv
from golden.kv import affine, pages
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.schemes import Scheme

pytestmark = pytest.mark.quick

KEY, VALUE = Format("native", 2, "channel", 32), Format("native", 4, "token", 64)


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=6),
    st.integers(0, 70),
    st.sampled_from(pages.PAGE_TOKENS),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_cache_quantises_every_page_once(lengths: list[int], residual: int, tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    free = rng.permutation(64)
    cache = PagedCache(KEY, VALUE, 2, 64, tokens, residual, free)
    keys, values = (rng.standard_normal((2, sum(lengths), 64)).astype(np.float16) for _ in range(2))
    first = 0
    for length in lengths:
        cache.append(keys[:, first : first + length], values[:, first : first + length])
        first += length
        kept = cache.window("key").shape[1]
        assert cache.tokens == first
        assert min(first, residual) <= kept < residual + tokens
    blocks = max(first - residual, 0) // tokens
    assert cache.table.shape == (2, 2, blocks)
    assert set(cache.table[0].T.ravel()) == set(free[: 2 * blocks])
    for restored, exact, form in zip(cache.decompress(), (keys, values), (KEY, VALUE), strict=True):
        paged = exact[:, : blocks * tokens]
        expected = paged.astype(np.float32)
        for block in range(blocks):
            part = paged[:, block * tokens : (block + 1) * tokens]
            expected[:, block * tokens : (block + 1) * tokens] = form.decode(form.quantize(part))
        np.testing.assert_array_equal(restored[:, : blocks * tokens], expected)
        np.testing.assert_array_equal(restored[:, blocks * tokens :], exact[:, blocks * tokens :])


def test_window_token_by_token(rng: np.random.Generator) -> None:
    """A page leaves exactly when the window holds 32 tokens more than stay."""
    x = rng.standard_normal((1, 110, 64))
    for residual in 0, 5, 32:
        cache = PagedCache(KEY, VALUE, 1, 64, 32, residual)
        for token in range(110):
            cache.append(x[:, token : token + 1], x[:, token : token + 1])
            paged = 32 * (max(token + 1 - residual, 0) // 32)
            assert cache.table.shape[2] * 32 == paged
            assert cache.window("value").shape[1] == token + 1 - paged


def test_bits_of_a_cache() -> None:
    """KIVI at 2 bits with 32 of 160 tokens in float16: (3 * 128 + 16 * 32) / 160."""
    cache = PagedCache(Format("kivi", 2, "channel", 32), Format("kivi", 2, "token", 32), 4, 128, 32, 32)
    assert cache.bits_per_element == 0
    cache.append(np.ones((4, 160, 128)), np.ones((4, 160, 128)))
    assert cache.bits_per_element == (3 * 128 + 16 * 32) / 160


def test_a_refused_append_changes_nothing(rng: np.random.Generator) -> None:
    cache = PagedCache(KEY, VALUE, 2, 64, 32, 0, [5, 9, 3])
    x = rng.standard_normal((2, 40, 64))
    cache.append(x, x)
    before = cache.decompress()
    with pytest.raises(ValueError, match=r"^2 pages needed, only 1 free$"):
        cache.append(x, x)
    with pytest.raises(ValueError, match=r"^elements must be finite in float16"):
        cache.append(x[:, :1] * np.nan, x[:, :1])
    with pytest.raises(ValueError, match=r"^value of shape \(2, 2, 64\) must be \[2, n, 64\]$"):
        cache.append(x[:, :1], x[:, :2])
    for old, new in zip(before, cache.decompress(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match=r"^free pages must be different numbers from 0 up$"):
        PagedCache(KEY, VALUE, 2, 64, free=[1, 1])
    with pytest.raises(ValueError, match=r"^heads 0 must be at least 1 and residual 0 at least 0$"):
        PagedCache(KEY, VALUE, 0)


@pytest.mark.parametrize("tokens", [1, 31, 32, 63, 64, 130])
def test_a_window_in_pages(rng: np.random.Generator, tokens: int) -> None:
    """Every token of the window by itself, in pages of which the newest token fills the last one up."""
    scheme = golden.kv.get("native4_paged")
    keys, values = rng.standard_normal((2, 2, tokens, 64)).astype(np.float16)
    cache = scheme.compress(keys, values)
    assert scheme.window_format == Format("native", 8, "token", 32)
    paged = 32 * cache.table.shape[2]
    blocks = -(-(tokens - paged) // 32)
    for side, exact, seen in zip(("key", "value"), (keys, values), cache.decompress(), strict=True):
        by_itself = [
            affine.dequantize(*affine.quantize(exact[:, [t]], 8, "token", 32), 8, "token", 32)
            for t in range(paged, tokens)
        ]
        np.testing.assert_array_equal(seen[:, paged:], np.concatenate(by_itself, 1).astype(np.float32))
        np.testing.assert_array_equal(cache.window(side), exact[:, paged:])
        in_pages = scheme.window_format.decode(cache.window_pages(side))
        assert in_pages.shape == (2, blocks, 32, 64)
        flat = in_pages.reshape(2, -1, 64)
        np.testing.assert_array_equal(flat[:, : tokens - paged], seen[:, paged:])
        assert (flat[:, tokens - paged :] == seen[:, -1:]).all()
    window_bits = 16 * (tokens - paged) + (8 + 1) * 32 * blocks
    assert cache.bits_per_element == pytest.approx((5 * paged + window_bits) / tokens)


def largest_field(form: Format, x: np.ndarray) -> int:
    """Exponent field of the largest step or offset of elements [n, D], from float64's exponents."""
    _, scale, zero = form.quantize(x)
    largest = max(np.abs(part).max() for part in form.line(scale, zero))
    return max(int(np.frexp(largest)[1]) + 14, 1)


@pytest.mark.parametrize("name", ["native4_paged", "ternary"])
def test_top(rng: np.random.Generator, name: str) -> None:
    """The largest exponent so far of all steps and offsets of closed pages and of the window's pages."""
    scheme = golden.kv.get(name)
    loud = 2.0 ** rng.integers(-12, 6, (2, 2, 300, 1))
    both = (rng.standard_normal((2, 2, 300, 64)) * loud).astype(np.float16)
    sizes = (2, 64, 32, scheme.residual)
    cache = PagedCache(scheme.key, scheme.value, *sizes, window_format=scheme.window_format)
    assert cache.top.tolist() == [[1, 1], [1, 1]]
    expected = np.ones((2, 2), np.int64)
    for token in range(300):
        cache.append(*both[:, :, token : token + 1])
        paged = (max(token + 1 - scheme.residual, 0)) // 32 * 32
        for side, form in enumerate((scheme.key, scheme.value)):
            for head in range(2):
                new = [(scheme.window_format, both[side, head, [token]])] if scheme.window_format else []
                new += [(form, both[side, head, paged - 32 : paged])] if paged else []
                fields = [largest_field(*one) for one in new]
                expected[side, head] = max(expected[side, head], *fields, 1)
        np.testing.assert_array_equal(cache.top, expected)
    at_once = scheme.compress(*both)
    np.testing.assert_array_equal(at_once.top, expected)
    np.testing.assert_array_equal(PagedCache.from_bytes(at_once.to_bytes()).top, expected)


def test_bad_windows() -> None:
    with pytest.raises(ValueError, match=r"^axis 'channel' of the window's format must be 'token'$"):
        PagedCache(KEY, VALUE, 1, 64, window_format=KEY)
    with pytest.raises(ValueError, match=r"^axis 'channel' of the window's format must be 'token'$"):
        Scheme(KEY, VALUE, "paged", 32, KEY)
    with pytest.raises(ValueError, match=r"^token axis of 48 elements must be a multiple of the group 32$"):
        PagedCache(KEY, KEY, 1, 48, window_format=Format("native", 8, "token", 32))
    assert not Scheme(KEY, KEY, "paged", 32, Format("native", 8, "token", 32)).fits(48)
    with pytest.raises(ValueError, match=r"^cache must have a window format$"):
        PagedCache(KEY, VALUE, 1, 64).window_pages("key")


@pytest.mark.parametrize(
    "name", ["kivi4", "native2", "native3_strict", "atom8", "ternary", "sign", "native4_paged128"]
)
def test_schemes_and_stored_caches(rng: np.random.Generator, name: str) -> None:
    """A scheme's cache is that of its formats, and its bytes are all of it."""
    scheme = golden.kv.get(name)
    keys, values = rng.standard_normal((2, 3, 200, 64)).astype(np.float16)
    cache = scheme.compress(keys, values)
    sizes = (3, 64, 32, scheme.residual)
    by_hand = PagedCache(scheme.key, scheme.value, *sizes, window_format=scheme.window_format)
    by_hand.append(keys, values)
    read = PagedCache.from_bytes(cache.to_bytes())
    for other in (by_hand, read):
        for mine, theirs in zip(cache.decompress(), other.decompress(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert other.bits_per_element == cache.bits_per_element
    np.testing.assert_array_equal(read.table, cache.table)
    assert read.to_bytes() == cache.to_bytes()


def test_unreadable_files() -> None:
    with pytest.raises(ValueError, match=r"^not a stored KV cache: "):
        PagedCache.from_bytes(b"")
    cache = golden.kv.get("native4").compress(*np.zeros((2, 1, 256, 64)))
    with pytest.raises(ValueError, match=r"^not a stored KV cache: "):
        PagedCache.from_bytes(cache.to_bytes()[:-1])
