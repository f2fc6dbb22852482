"""Models in the core's terms: what a program is made of (``golden.core.program``)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv.schemes import Scheme
from golden.weights.quantized import QuantizedWeights

__all__ = ["Layer", "Model", "some_rows", "stacked"]


class Layer(NamedTuple):
    """One layer.

    Attributes:
        q, kv: queries, and keys and values of all heads, rows in this order.
        o, gate, up, down: the other matrices.
        attention_norm, ffn_norm: float32 [width].
        scheme: of its cache, whole pages with a window format.
        biases: float32, added to the products of the matrices of these names.
        head_norms: weights of the norms of each query and of each key, float32 [D]; None without.
    """

    q: QuantizedWeights
    kv: QuantizedWeights
    o: QuantizedWeights
    gate: QuantizedWeights
    up: QuantizedWeights
    down: QuantizedWeights
    attention_norm: NDArray[np.float32]
    ffn_norm: NDArray[np.float32]
    scheme: Scheme
    biases: Mapping[str, NDArray[np.float32]]
    head_norms: tuple[NDArray[np.float32], NDArray[np.float32]] | None


@dataclass(frozen=True, eq=False)
class Model:
    """A llama model in a core's terms.

    Attributes:
        embedding: float16 [V, width].
        turns: float32 [limit, D], cosines [D / 2] and sines [D / 2] of every position.
        layers: in order.
        norm: float32 [width].
        output: the output layer.
        heads, kv_heads, channels: of attention.
        used_channels: elements of a head that are not zeros which fill it up.
        epsilon: of the norms.
        stops: at most two tokens that end a text.
    """

    embedding: NDArray[np.float16]
    turns: NDArray[np.float32]
    layers: tuple[Layer, ...]
    norm: NDArray[np.float32]
    output: QuantizedWeights
    heads: int
    kv_heads: int
    channels: int
    used_channels: int
    epsilon: float
    stops: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Elements of the residual stream."""
        return self.embedding.shape[1]

    @property
    def hidden(self) -> int:
        """Elements between the matrices of SwiGLU."""
        return self.layers[0].down.shape[1]


def stacked(*parts: QuantizedWeights) -> QuantizedWeights:
    """Matrices of one data type and the same inputs, one below the other."""
    names = _arrays(parts[0])
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)


def some_rows(weights: QuantizedWeights, rows: slice) -> QuantizedWeights:
    """Some rows of a matrix."""
    return replace(weights, **{name: getattr(weights, name)[rows] for name in _arrays(weights)})


def _arrays(weights: QuantizedWeights) -> tuple[str, ...]:
    """Names of what a matrix has row by row."""
    names = ("codes", "selector", "scale_mantissa", "scale_distance", "zero_point", "channel_exponent")
    return names if weights.offset_mantissa is None else (*names, "offset_mantissa", "offset_distance")
