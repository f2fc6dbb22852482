"""A layer that decodes: keys and values as queries find them, and what becomes of them after each query.

The query of token t finds the tokens up to its own, that one as it is. What its weights tell about the
importance of tokens is known afterwards, so that nothing is decided by what comes later.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes

__all__ = ["SCORE_BITS", "Array", "Layer"]

Array = NDArray[np.float32]

SCORE_BITS = 32
"""Of a token's importance in memory, a head."""


class Layer(ABC):
    """Keys and values of one layer.

    Args:
        heads, channels: H and D.

    Attributes:
        keys, values: float32 ``[H, T, D]``, as queries find them now; appended as float16.
        kept: bool ``[H, T]``, False for tokens that are evicted.
        time: tokens whose queries have been answered.
    """

    def __init__(self, heads: int, channels: int) -> None:
        self.heads, self.channels, self.time = heads, channels, 0
        self.keys = np.zeros((heads, 0, channels), np.float32)
        self.values = self.keys
        self.kept = np.zeros((heads, 0), bool)

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits in memory for the ``closed`` tokens: codes, metadata, maps, page tables and scores."""

    @property
    def closed(self) -> int:
        """Tokens that are not in a window any more, evicted ones among them."""
        return self.time

    @property
    def bits_per_element(self) -> float:
        """``bits`` for each of the ``closed_elements``; NaN without any."""
        return self.bits / self.closed_elements if self.closed_elements else float("nan")

    @property
    def closed_elements(self) -> int:
        """Elements of keys and values of the ``closed`` tokens, as if all were there."""
        return 2 * self.heads * self.closed * self.channels

    def append(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Add tokens, real ``[H, n, D]``; their queries follow, one by one.

        Raises:
            ValueError: a shape that does not fit, or an element that is not finite in float16.
        """
        new = [magnitudes.finite_half(x).astype(np.float32) for x in (keys, values)]
        shape = (self.heads, new[0].shape[1], self.channels)
        if any(x.shape != shape for x in new):
            raise ValueError(f"keys and values of shapes {new[0].shape}, {new[1].shape} must be {shape}")
        self.keys, self.values = (
            np.concatenate([old, x], 1) for old, x in zip((self.keys, self.values), new, strict=True)
        )
        self.kept = np.concatenate([self.kept, np.ones(shape[:2], bool)], 1)

    def step(self, query: ArrayLike) -> Array:
        """Attention of the next token.

        Args:
            query: real ``[H, R, D]``, R query heads for every KV head.

        Returns:
            float32 ``[H, R, D]``.

        Raises:
            ValueError: the token has not been appended.
        """
        if self.time == self.keys.shape[1]:
            raise ValueError(f"token {self.time} must be appended before its query")
        q, seen = np.asarray(query, np.float32), self.time + 1
        scores = q @ self.keys[:, :seen].swapaxes(1, 2) * np.float32(self.channels**-0.5)
        scores[~np.broadcast_to(self.kept[:, None, :seen], scores.shape)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        result = weights @ self.values[:, :seen]
        self.time = seen
        self.after(q, weights)
        return result

    @abstractmethod
    def after(self, query: Array, weights: Array) -> None:
        """Compress or evict, told the query ``[H, R, D]`` and its weights ``[H, R, time]``."""
