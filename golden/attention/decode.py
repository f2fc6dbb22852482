"""One decode step of attention on a paged cache, with the engine's numerics.

    values = attend(cache, q, Numerics())

Every KV head's pages are read in the order of its table, then the window's, in the window's format. Query
heads of a group read the same pages.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.attention import engine, page, widths
from golden.attention.page import Page
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.cache import PagedCache
from golden.kv.pages import SIDES
from golden.numbers.numerics import Numerics

__all__ = ["Attended", "attend", "decode"]


class Attended(NamedTuple):
    """What N query heads find in T tokens.

    Attributes:
        values: float16 [N, D]; NaN for a query with NaN or infinity.
        scores: int64 [N, T], in units of 2^-12, base 2.
        maximum: int64 [N], the final maximum.
        total: int64 [N], the sum of 2^(score - maximum), in units of 2^-32.
    """

    values: NDArray[np.float16]
    scores: NDArray[np.int64]
    maximum: NDArray[np.int64]
    total: NDArray[np.int64]


def attend(cache: PagedCache, q: ArrayLike, numerics: Numerics) -> NDArray[np.float16]:
    """``decode`` without the scores: float16 [N, D]."""
    return decode(cache, q, numerics).values


def decode(cache: PagedCache, q: ArrayLike, numerics: Numerics) -> Attended:
    """Attention of one new token over the whole cache.

    Args:
        cache: at least one token, its own included; formats whose steps and offsets are float16 numbers:
            native, kivi, quanto, zipcache, mikv, signs, trits and BitMoD's; and a window format unless there
            is no window.
        q: real [N, D], rounded to float16; query head n reads KV head ``n // (N / H)``.
        numerics: widths.

    Raises:
        TypeError: no cache.
        ValueError: a shape or a format that does not fit, or a cache that is empty or too long.
    """
    if not isinstance(cache, PagedCache):
        raise TypeError(f"cache of type {type(cache).__name__} must be a PagedCache, what compress() returns")
    queries = np.asarray(q)
    shape = (cache.heads, cache.channels)
    if queries.ndim != 2 or not len(queries) or (len(queries) % shape[0], queries.shape[1]) != (0, shape[1]):
        raise ValueError(f"q of shape {queries.shape} must be [n * {shape[0]}, {shape[1]}]")
    if not 1 <= cache.tokens <= 1 << widths.CONTEXT_BITS:
        raise ValueError(f"cache of {cache.tokens} tokens must have 1..{1 << widths.CONTEXT_BITS}")
    if cache.channels > widths.MOST_CHANNELS:
        raise ValueError(f"channels {cache.channels} must be at most {widths.MOST_CHANNELS}")
    heads = []
    for head, own in enumerate(queries.reshape(cache.heads, -1, cache.channels)):
        query, state = fold(own), engine.start(len(own), cache.channels, cache.top[1, head])
        scores = []
        for keys, values, count in _pages(cache, head):
            state, found = engine.step(
                state, query, keys, values, numerics, cache.top[0, head], last=count - 1
            )
            scores.append(found[:, :count])
        outputs = engine.finish(state, query).values
        heads.append(Attended(outputs, np.concatenate(scores, 1), state.maximum, state.total))
    return Attended(*(np.concatenate(parts) for parts in zip(*heads, strict=True)))


def _pages(cache: PagedCache, head: int) -> Iterator[tuple[Page, Page, int]]:
    """Keys, values and the number of valid tokens of every page of a head."""
    formats = [cache.layouts[side].format for side in SIDES]
    closed = [cache.pages(side) for side in SIDES]
    for place in range(cache.table.shape[2]):
        keys, values = (
            page.read(form, Quantized(*(part[head, place] for part in side)))
            for form, side in zip(formats, closed, strict=True)
        )
        yield keys, values, cache.page_tokens
    left = cache.window("key").shape[1]
    if not left:
        return
    if cache.window_format is None:
        raise ValueError("cache must have a window format")
    form = cache.window_format
    recent = [cache.window_pages(side) for side in SIDES]
    for place, first in enumerate(range(0, left, cache.page_tokens)):
        keys, values = (page.read(form, Quantized(*(part[head, place] for part in side))) for side in recent)
        yield keys, values, min(left - first, cache.page_tokens)
