"""The paged cache: pages anywhere, a window of float16 tokens, every token quantised once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import golden.kv
from golden.kv import pages
from golden.kv.cache import PagedCache
from golden.kv.formats import Format

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


@pytest.mark.parametrize("name", ["kivi4", "native2", "native3_strict", "atom8", "ternary", "sign"])
def test_schemes_and_stored_caches(rng: np.random.Generator, name: str) -> None:
    """A scheme's cache is that of its formats, and its bytes are all of it."""
    scheme = golden.kv.get(name)
    keys, values = rng.standard_normal((2, 3, 200, 64)).astype(np.float16)
    cache = scheme.compress(keys, values)
    by_hand = PagedCache(scheme.key, scheme.value, 3, 64, residual=scheme.residual)
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
