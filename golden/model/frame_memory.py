"""Frames that a decoder hears, compressed: keys and values that are all there before the first query.

The prompt is the first queries that read the frames. They are known before anything is predicted, so that
what they draw from the frames may choose which of these are protected. Then all is compressed, once, and
every query finds it so, those of the prompt too.
"""

from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from golden.kv.schemes import Scheme
from golden.model.attention import Array, Plain, scores, softmax
from golden.model.kv_schemes import restored
from golden.systems.layers.vidkv import VidKV

__all__ = ["FrameMemory", "Frames", "Store", "store"]


class Frames(NamedTuple):
    """Compressed frames: keys and values as queries find them, float32 [H, T, D], and bits in memory."""

    keys: Array
    values: Array
    bits: int


class Store(Protocol):
    """Compress keys and values [H, T, D], told the weights [H, R, n, T] of the prompt's queries."""

    def __call__(self, keys: Array, values: Array, weights: Array) -> Frames: ...


def store(scheme: Scheme | VidKV) -> Store:
    """How a scheme compresses frames: plain formats in whole pages, VidKV as it does a prompt."""
    return partial(_vidkv, scheme) if isinstance(scheme, VidKV) else partial(_pages, scheme)


def _pages(scheme: Scheme, keys: Array, values: Array, weights: Array) -> Frames:
    """The last page is filled up with the newest frame, and counts as a whole one."""
    heads, tokens, channels = keys.shape
    stored = 2 * heads * -(-tokens // scheme.page) * scheme.page * channels
    return Frames(
        restored(scheme.key, scheme.page, keys),
        restored(scheme.value, scheme.page, values),
        round(stored * scheme.bits_per_element(channels)),
    )


def _vidkv(system: VidKV, keys: Array, values: Array, weights: Array) -> Frames:
    own, other = system.compress(keys, values, weights)
    bits = (own.bits_per_element + other.bits_per_element) * keys.size
    return Frames(own.decompress(), other.decompress(), round(bits))


class FrameMemory(Plain):
    """Keys and values of one layer's frames.

    Args:
        heads, channels: H and D.
        store: compresses them.
        prompt: how many of the first queries may choose frames.

    Attributes:
        keys, values: float32 [H, T, D]; as they were appended until the first query, then as queries find
            them.
        bits: in memory, everything counted; 0 until the first query.
        errors: relative squared errors of keys and values; 0 until the first query.
    """

    def __init__(self, heads: int, channels: int, store: Store, prompt: int) -> None:
        super().__init__(heads, channels, causal=False)
        self._store, self._prompt = store, prompt
        self.bits, self.errors = 0, (0.0, 0.0)

    @property
    def closed_elements(self) -> int:
        """Elements of keys and values."""
        return self.keys.size + self.values.size

    def append(self, keys: Array, values: Array) -> None:
        """Add frames, float32 [H, n, D].

        Raises:
            ValueError: the others have been read.
        """
        if self.bits:
            raise ValueError("frames must be appended before the first query")
        super().append(keys, values)

    def read(self, query: Array, first: int, window: int | None = None) -> Array:
        """Outputs [H, R, n, D] of queries, as of ``Plain``; the first ones include the whole prompt."""
        if not self.bits:
            weights = softmax(scores(query[:, :, : self._prompt], self.keys))
            found = self._store(self.keys, self.values, weights)
            self.errors = _error(found.keys, self.keys), _error(found.values, self.values)
            self.keys, self.values, self.bits = found
        return super().read(query, first, window)


def _error(found: Array, exact: Array) -> float:
    """Relative squared error."""
    return float(np.square(found - exact, dtype=np.float64).sum() / np.square(exact, dtype=np.float64).sum())
