"""Attention on packed pages in float32, against float64 on the decompressed cache."""

import math

import numpy as np
import pytest

from golden.kv.attention import attend
from golden.kv.cache import PagedCache
from golden.kv.formats import DECODES, Format
from golden.kv.rules import RULES

pytestmark = pytest.mark.quick


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


def test_illegal_arguments(rng: np.random.Generator) -> None:
    form = Format("native", 4, "token", 64)
    cache, q = filled(rng, form, form)
    with pytest.raises(ValueError, match=r"^q of shape \(3, 64\) must be \[n \* 2, 64\]$"):
        attend(cache, q[:3])
    with pytest.raises(ValueError, match=r"^cache must hold at least one token$"):
        attend(PagedCache(form, form, 2, 64), q)
