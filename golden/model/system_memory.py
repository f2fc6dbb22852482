"""KV caches of a model that reads a text, kept by a cache system (``golden.systems``).

Every query finds what it would while decoding: the queries are answered one by one, and what a layer keeps
changes after each.
"""

import numpy as np
from numpy.typing import NDArray

from golden.model.attention import Plain
from golden.systems.layers import Layer

__all__ = ["SystemMemory"]

Array = NDArray[np.float32]


class SystemMemory(Plain):
    """Keys and values of one layer.

    Args:
        layer: of the system, empty.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.heads, layer.channels)
        self.layer = layer

    def append(self, keys: Array, values: Array) -> None:
        """Add tokens: float32 [H, n, D]."""
        super().append(keys, values)
        self.layer.append(keys, values)

    def read(self, query: Array, first: int, window: int | None = None) -> Array:
        """Outputs [H, R, n, D] of queries, as of ``Plain``, each token's once and in order.

        Raises:
            ValueError: another token's turn, or a window that hides tokens.
        """
        if first != self.layer.time:
            raise ValueError(f"queries of token {first} must come after those before: {self.layer.time} did")
        if window is not None and window < first + query.shape[2]:
            raise ValueError(f"window {window} must hide no token from a cache system")
        return np.stack([self.layer.step(query[:, :, token]) for token in range(query.shape[2])], 2)
