"""Attention in float32: a layer's memory of keys and values, and what queries read from it.

    out = softmax(q k^T / sqrt(D)) v

Queries are taken in blocks, so that scores of a long text never lie in memory all at once.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory", "Plain", "attend", "softmax"]

Array = NDArray[np.float32]

BLOCK = 256
"""Queries that are computed together."""


class Memory(Protocol):
    """Keys and values of one layer, as attention sees them."""

    keys: Array
    values: Array

    @property
    def tokens(self) -> int: ...

    def append(self, keys: Array, values: Array) -> None: ...

    def read(self, query: Array, first: int, window: int | None = None) -> Array: ...


class Plain:
    """Keys and values of H heads in full precision.

    Attributes:
        keys, values: float32 [H, T, D].
        causal: a query sees the keys up to its own token; otherwise all.
    """

    def __init__(self, heads: int, channels: int, causal: bool = True) -> None:
        self.causal = causal
        self.keys = np.zeros((heads, 0, channels), np.float32)
        self.values = self.keys

    @property
    def tokens(self) -> int:
        """Tokens so far."""
        return self.keys.shape[1]

    def append(self, keys: Array, values: Array) -> None:
        """Add tokens: float32 [H, n, D]."""
        self.keys = np.concatenate([self.keys, keys], 1)
        self.values = np.concatenate([self.values, values], 1)

    def read(self, query: Array, first: int, window: int | None = None) -> Array:
        """Outputs [H, R, n, D] of queries of the same shape, of tokens ``first`` on.

        With a window a causal query sees only so many of the newest keys, that of its own token included.
        """
        last = first + query.shape[2] if self.causal else self.tokens
        weights = softmax(scores(query, self.keys[:, :last]), first if self.causal else None, window)
        return weighted(weights, self.values[:, :last])


def attend(query: Array, memory: Memory, window: int | None = None) -> Array:
    """What the newest tokens read.

    Args:
        query: float32 [n, N, D] of n tokens, N query heads; head h reads KV head ``h // (N / H)``.
        memory: keys and values up to and with these tokens.
        window: how many of the newest keys a query sees; None for all.

    Returns:
        float32 [n, N * D].
    """
    count, heads, channels = query.shape
    own = query.reshape(count, len(memory.keys), -1, channels).transpose(1, 2, 0, 3)
    own = np.ascontiguousarray(own)
    first = memory.tokens - count
    blocks = [
        memory.read(own[:, :, start : start + BLOCK], first + start, window)
        for start in range(0, count, BLOCK)
    ]
    return np.concatenate(blocks, 2).transpose(2, 0, 1, 3).reshape(count, heads * channels)


def scores(query: Array, keys: Array) -> Array:
    """Products [H, R, n, T] of queries [H, R, n, D], scaled here, and keys [H, T, D]."""
    heads, repeats, count, channels = query.shape
    scaled: Array = query.reshape(heads, repeats * count, channels) * np.float32(channels**-0.5)
    products = scaled @ keys.swapaxes(1, 2)
    return products.reshape(heads, repeats, count, -1)


def weighted(weights: Array, values: Array) -> Array:
    """Sums [H, R, n, D] of values [H, T, D] with weights [H, R, n, T]."""
    heads, repeats, count, tokens = weights.shape
    sums = weights.reshape(heads, repeats * count, tokens) @ values
    return sums.reshape(heads, repeats, count, -1)


def softmax(scores: Array, first: int | None = None, window: int | None = None) -> Array:
    """Softmax along the last axis, in place.

    Args:
        scores: float32 [.., n, T].
        first: token of the first query: query t sees no key after token first + t. None hides nothing.
        window: query t sees no key before token first + t - window + 1 either.
    """
    count = scores.shape[-2]
    if first is not None and count > 1:
        scores[..., first:][..., ~np.tri(count, dtype=bool)] = -np.inf
    if first is not None and window is not None:
        scores[..., np.tri(count, scores.shape[-1], first - window, dtype=bool)] = -np.inf
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores
