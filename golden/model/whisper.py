"""Whisper in float32: an encoder of sound and a decoder with self- and cross-attention (arXiv 2212.04356).

Blocks are pre-norm with LayerNorm and GELU. A CTranslate2 file stacks projections that share an input:
queries, keys and values of self-attention, keys and values of cross-attention.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.checkpoint import Checkpoint
from golden.model.attention import Memory, Plain, attend
from golden.model.linear import Factory, dense

__all__ = ["Memories", "Whisper", "gelu"]

Array = NDArray[np.float32]
Make = Callable[[int, int], Memory]

_SIDES = ("encoder", "decoder")
_EPSILON = np.float32(1e-5)
# Abramowitz and Stegun 7.1.26: erf to within 1.5e-7
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE = 0.3275911


class Memories(NamedTuple):
    """What a decoder layer remembers: its own tokens, and the frames it hears."""

    own: Memory
    cross: Memory


class Whisper:
    """A Whisper model.

    Args:
        checkpoint: of CTranslate2, specification "WhisperSpec".
        linear: makes every linear layer of the blocks. Convolutions and the output stay in float32.

    Attributes:
        heads: heads of every attention.
        channels: elements D of a head.
        embedding: float32 [vocabulary, width], also the output layer.

    Raises:
        ValueError: not a Whisper model, or incomplete.
    """

    def __init__(self, checkpoint: Checkpoint, linear: Factory = dense) -> None:
        found = checkpoint.metadata.get("specification")
        if found != "WhisperSpec":
            raise ValueError(f"{checkpoint.path}: specification {found!r} must be 'WhisperSpec'")
        self._tensors = {tensor.name: tensor.array() for tensor in checkpoint.tensors if not tensor.linear}
        self._linears = {
            tensor.name: linear(tensor.name, tensor.array()) for tensor in checkpoint.tensors if tensor.linear
        }
        self.embedding = self._tensors["decoder/embeddings/weight"]
        self.heads = int(self._tensors["encoder/num_heads"])
        self.channels = self.embedding.shape[1] // self.heads
        norms = [name for name in self._tensors if name.endswith("ffn/layer_norm/gamma")]
        self._layers = {side: sum(name.startswith(side) for name in norms) for side in _SIDES}

    def encode(self, spectrogram: Array) -> Array:
        """Frames of a sound: float32 [80, 3000] to [1500, width]."""
        x = gelu(self._convolve("encoder/conv1", spectrogram, 1))
        x = (
            gelu(self._convolve("encoder/conv2", x, 2)).T
            + self._tensors["encoder/position_encodings/encodings"]
        )
        for layer in range(self._layers["encoder"]):
            name = f"encoder/layer_{layer}"
            memory = Plain(self.heads, self.channels, causal=False)
            x = x + self._self_attention(f"{name}/self_attention", x, memory)
            x = x + self._ffn(f"{name}/ffn", x)
        return self._normal("encoder/layer_norm", x)

    def cross(self, frames: Array) -> list[tuple[Array, Array]]:
        """Keys and values of every decoder layer's cross-attention, float32 [heads, 1500, D]."""
        pairs = []
        for layer in range(self._layers["decoder"]):
            both = self._linear(f"decoder/layer_{layer}/attention/linear_1", frames)
            keys, values = (self._heads(part).swapaxes(0, 1) for part in np.split(both, 2, -1))
            pairs.append((keys, values))
        return pairs

    def memories(self, frames: Array, own: Make = Plain, cross: Make | None = None) -> list[Memories]:
        """Memories of a decoder that hears ``frames``; ``own`` and ``cross`` make the two of a layer."""
        found = []
        for keys, values in self.cross(frames):
            heard = (
                cross(self.heads, self.channels) if cross else Plain(self.heads, self.channels, causal=False)
            )
            heard.append(keys, values)
            found.append(Memories(own(self.heads, self.channels), heard))
        return found

    def hidden(self, tokens: ArrayLike, memories: list[Memories]) -> Array:
        """Run tokens [n] that follow those in the memories: float32 [n, width]."""
        ids = np.asarray(tokens)
        first = memories[0].own.tokens
        x = self.embedding[ids]
        x = x + self._tensors["decoder/position_encodings/encodings"][first : first + len(ids)]
        for layer, memory in enumerate(memories):
            name = f"decoder/layer_{layer}"
            x = x + self._self_attention(f"{name}/self_attention", x, memory.own)
            query = self._linear(
                f"{name}/attention/linear_0", self._normal(f"{name}/attention/layer_norm", x)
            )
            heard = attend(self._heads(query), memory.cross)
            x = x + self._linear(f"{name}/attention/linear_2", heard)
            x = x + self._ffn(f"{name}/ffn", x)
        return self._normal("decoder/layer_norm", x)

    def logits(self, hidden: Array) -> Array:
        """The output layer: [n, width] to [n, vocabulary]."""
        return hidden @ self.embedding.T

    def _linear(self, name: str, x: Array) -> Array:
        return self._linears[f"{name}/weight"](x) + self._tensors[f"{name}/bias"]

    def _normal(self, name: str, x: Array) -> Array:
        """LayerNorm."""
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + _EPSILON)
        return unit * self._tensors[f"{name}/gamma"] + self._tensors[f"{name}/beta"]

    def _heads(self, x: Array) -> Array:
        return x.reshape(len(x), self.heads, self.channels)

    def _self_attention(self, name: str, x: Array, memory: Memory) -> Array:
        joined = self._linear(f"{name}/linear_0", self._normal(f"{name}/layer_norm", x))
        query, keys, values = (self._heads(part) for part in np.split(joined, 3, -1))
        memory.append(keys.swapaxes(0, 1), values.swapaxes(0, 1))
        return self._linear(f"{name}/linear_1", attend(query, memory))

    def _ffn(self, name: str, x: Array) -> Array:
        inner = gelu(self._linear(f"{name}/linear_0", self._normal(f"{name}/layer_norm", x)))
        return self._linear(f"{name}/linear_1", inner)

    def _convolve(self, name: str, x: Array, stride: int) -> Array:
        """Convolution of width 3 along time, [C, T] to [K, T / stride], zeros beyond the ends."""
        weights = self._tensors[f"{name}/weight"]
        padded = np.pad(x, ((0, 0), (1, 1)))
        taps = [weights[:, :, tap] @ padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)]
        return np.sum(taps, 0, np.float32) + self._tensors[f"{name}/bias"][:, None]


def gelu(x: Array) -> Array:
    """x times the normal distribution function, which is good to 1e-7."""
    half = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(_ERF_SCALE) * half)
    tail = np.zeros_like(t)
    for factor in reversed(_ERF):
        tail = (tail + np.float32(factor)) * t
    tail *= np.exp(-half * half) / 2
    return (x * np.where(x < 0, tail, 1 - tail)).astype(np.float32, copy=False)
