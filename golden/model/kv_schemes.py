"""KV caches of a model that reads a text: quantised as a scheme has it (``golden.kv.schemes``).

Every perplexity decodes as attention computes, codes times steps plus offsets, rounded once ("scaled" of
``golden.kv.formats.Format.decode``), whatever the system's own code rounds in between ("published").
"""

import numpy as np
from numpy.typing import NDArray

from golden.kv.formats import Format
from golden.kv.schemes import Scheme
from golden.model.attention import Plain, scores, softmax, weighted

__all__ = ["QuantizedMemory", "restored"]

Array = NDArray[np.float32]


def restored(form: Format, page: int, x: Array) -> Array:
    """Quantise and decode keys or values, float32 [H, n, D], in pages of tokens.

    The last, incomplete page is filled up with its newest token; that moves no extreme.
    """
    count = x.shape[1]
    padded = np.pad(x, ((0, 0), (0, -count % page), (0, 0)), "edge")
    blocks = padded.reshape(len(x), -1, page, x.shape[2])
    return form.decode(form.quantize(blocks)).reshape(padded.shape)[:, :count]


class QuantizedMemory(Plain):
    """Keys and values of one layer, quantised as a scheme has it.

    Args:
        heads, channels: of the cache.
        scheme: how.
    """

    def __init__(self, heads: int, channels: int, scheme: Scheme) -> None:
        super().__init__(heads, channels)
        self.scheme = scheme
        self._quantized_keys = self._quantized_values = self.keys
        self._recent_keys = self._recent_values = self.keys  # as queries find them until they are quantised

    def append(self, keys: Array, values: Array) -> None:
        """Add tokens: float32 [H, n, D]."""
        first = self.tokens // self.scheme.page * self.scheme.page
        super().append(keys, values)
        self._recent_keys, self._recent_values = (
            x if form is None else np.concatenate([old, restored(form, 1, new)], 1)
            for form, old, new, x in (
                (self.scheme.window_format, self._recent_keys, keys, self.keys),
                (self.scheme.window_format, self._recent_values, values, self.values),
            )
        )
        self._quantized_keys, self._quantized_values = (
            np.concatenate([old[:, :first], restored(form, self.scheme.page, new[:, first:])], 1)
            for form, old, new in (
                (self.scheme.key, self._quantized_keys, self.keys),
                (self.scheme.value, self._quantized_values, self.values),
            )
        )

    def read(self, query: Array, first: int, window: int | None = None) -> Array:
        """Outputs [H, R, n, D] of queries, as of ``Plain``."""
        last = first + query.shape[2]
        old_keys, old_values = self.scheme.quantized(np.arange(first, last))
        low, high = old_keys.min(), old_keys.max()
        mixed = np.concatenate([self._quantized_keys[:, :high], self._recent_keys[:, high:last]], 1)
        found = scores(query, mixed)
        if low < high:
            newer = np.arange(low, high) >= old_keys[:, None]
            np.copyto(found[..., low:high], scores(query, self._recent_keys[:, low:high]), where=newer)
        weights = softmax(found, first, window)
        low, high = old_values.min(), old_values.max()
        recent = weights[..., low:]
        older = np.arange(low, last) < old_values[:, None]
        quantized = weights.copy()
        quantized[..., low:] = np.where(older, recent, 0)
        result = weighted(quantized[..., :high], self._quantized_values[:, :high])
        return result + weighted(np.where(older, 0, recent), self._recent_values[:, low:last])
