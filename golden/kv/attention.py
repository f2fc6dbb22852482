"""One decode step of attention on packed pages, without expanding them.

An element is ``integer * step + offset`` of its group (``golden.kv.formats``), so with query q and weights w

    keys, axis channel      score[t] = sum_c (q[c] step[c]) integer[t,c] + sum_c q[c] offset[c]
    keys, axis token        score[t] = sum_g ( step[t,g] sum_c q[c] integer[t,c] + offset[t,g] sum_c q[c] )
    values, axis token      out[c]   = sum_t (w[t] step[t,g]) integer[t,c] + sum_t w[t] offset[t,g]
    values, axis channel    out[c]   = sum_g ( step[g,c] sum_t w[t] integer[t,c] + offset[g,c] sum_t w[t] )

where a step along the reduction is folded into the activations, once a group of tokens or channels, and the
others scale a group's dot product. Weights are exp(score - largest score): the output is divided by their
sum at the end (online softmax), so that they stay within float16's range.

``attend`` does this in float32, for every format; ``golden.attention`` computes it as the engine does.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.cache import PagedCache

__all__ = ["attend"]


def attend(cache: PagedCache, q: ArrayLike) -> NDArray[np.float32]:
    """Attention of one new token over the whole cache, in float32.

    Args:
        cache: at least one token.
        q: real [N, D], taken as float32; query head n reads KV head ``n // (N / H)``. Scores are divided by
            sqrt(D).

    Returns:
        float32 [N, D].

    Raises:
        TypeError: no cache.
        ValueError: a shape that does not fit, or an empty cache.
    """
    if not isinstance(cache, PagedCache):
        raise TypeError(f"cache of type {type(cache).__name__} must be a PagedCache, what compress() returns")
    queries = np.asarray(q, np.float32)
    if (
        queries.ndim != 2
        or queries.shape[1] != cache.channels
        or len(queries) % cache.heads
        or not len(queries)
    ):
        raise ValueError(f"q of shape {queries.shape} must be [n * {cache.heads}, {cache.channels}]")
    if not cache.tokens:
        raise ValueError("cache must hold at least one token")
    queries = queries.reshape(cache.heads, -1, cache.channels)
    keys, values = (cache.seen_window(side) for side in ("key", "value"))
    paged = _scores(cache, queries)
    scores = np.concatenate([paged, queries @ keys.swapaxes(1, 2)], -1) / np.float32(np.sqrt(cache.channels))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    first = paged.shape[-1]
    result = weights[..., first:] @ values
    if first:  # NumPy's sums over no pages at all are not always zero
        result += _outputs(cache, weights[..., :first])
    return (result / weights.sum(-1, keepdims=True)).reshape(-1, cache.channels)


def _parts(cache: PagedCache, side: str) -> tuple[str, NDArray, NDArray, NDArray]:
    """Axis of a side, its integers [H, B, P, D], and steps and offsets [H, B, ..], all float32."""
    form, pages = cache.layouts[side].format, cache.pages(side)
    step, offset = form.line(pages.scale, pages.zero)
    integers = form.integers(pages.codes, pages.zero).astype(np.float32)
    return form.axis, integers, step.astype(np.float32), offset.astype(np.float32)


def _scores(cache: PagedCache, q: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores [H, R, B * P] of queries [H, R, D]."""
    axis, integers, step, offset = _parts(cache, "key")
    heads, blocks, tokens, channels = integers.shape
    if axis == "channel":
        groups = step.shape[2]
        folded = q[:, :, None, None] * step[:, None]
        own = integers.reshape(heads, blocks, groups, tokens // groups, channels)
        result = np.einsum("hrbgd,hbgtd->hrbgt", folded, own, optimize=True)
        result += np.einsum("hrd,hbgd->hrbg", q, offset)[..., None]
    else:
        groups = step.shape[3]
        parts = q.reshape(heads, -1, groups, channels // groups)
        own = integers.reshape(heads, blocks, tokens, groups, channels // groups)
        dots = np.einsum("hrgd,hbtgd->hrbtg", parts, own, optimize=True)
        result = (step[:, None] * dots).sum(-1) + np.einsum("hbtg,hrg->hrbt", offset, parts.sum(-1))
    return result.reshape(heads, q.shape[1], blocks * tokens)


def _outputs(cache: PagedCache, w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sums [H, R, D] with weights [H, R, B * P]."""
    axis, integers, step, offset = _parts(cache, "value")
    heads, blocks, tokens, channels = integers.shape
    repeats = w.shape[1]
    if axis == "token":
        groups = step.shape[3]
        parts = w.reshape(heads, repeats, blocks, tokens)
        own = integers.reshape(heads, blocks, tokens, groups, channels // groups)
        folded = parts[..., None] * step[:, None]
        result = np.einsum("hrbtg,hbtgd->hrgd", folded, own, optimize=True)
        result += np.einsum("hrbt,hbtg->hrg", parts, offset)[..., None]
    else:
        groups = step.shape[2]
        parts = w.reshape(heads, repeats, blocks, groups, tokens // groups)
        own = integers.reshape(heads, blocks, groups, tokens // groups, channels)
        dots = np.einsum("hrbgt,hbgtd->hrbgd", parts, own, optimize=True)
        result = (step[:, None] * dots).sum((2, 3)) + np.einsum("hbgd,hrbg->hrd", offset, parts.sum(-1))
    return result.reshape(heads, repeats, channels)
