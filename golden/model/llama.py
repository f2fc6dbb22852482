"""Llama models in float32: RMSNorm, rotary embedding, grouped-query attention, SwiGLU.

The linear layers and each layer's memory of keys and values are given from outside, so that both can be
quantised. Runs GGUF checkpoints of architecture "llama" (SmolLM2) and llama2.c's (stories260K).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.checkpoint import Checkpoint
from golden.model.attention import Memory, Plain, attend, rotate
from golden.model.linear import Factory, Linear, dense

__all__ = ["LINEARS", "Llama", "Sizes"]

Array = NDArray[np.float32]

LINEARS = ("q", "k", "v", "o", "gate", "up", "down")
"""Linear layers of a block."""

_NAMES = {
    "gguf": {
        **{part: f"blk.{{}}.attn_{part}.weight" for part in "qkv"},
        "o": "blk.{}.attn_output.weight",
        **{part: f"blk.{{}}.ffn_{part}.weight" for part in ("gate", "up", "down")},
        "attention_norm": "blk.{}.attn_norm.weight",
        "ffn_norm": "blk.{}.ffn_norm.weight",
        "embedding": "token_embd.weight",
        "norm": "output_norm.weight",
        "output": "output.weight",
    },
    "llama2.c": {
        **{part: f"layers.{{}}.w{part}" for part in "qkvo"},
        **{part: f"layers.{{}}.w{number}" for part, number in (("gate", 1), ("up", 3), ("down", 2))},
        "attention_norm": "layers.{}.attention_norm",
        "ffn_norm": "layers.{}.ffn_norm",
        "embedding": "tok_embeddings",
        "norm": "norm",
        "output": "output",
    },
}


@dataclass(frozen=True)
class Sizes:
    """What a forward pass needs to know of a checkpoint beside its tensors.

    Attributes:
        layers, heads, kv_heads: counts.
        context: longest text the model was trained on, in tokens.
        base: of the rotary embedding.
        epsilon: of the norms.
        paired: rotary pairs are neighbours; otherwise they are in two halves of a head.
        names: names of tensors by their part, with a place for the layer's number.
    """

    layers: int
    heads: int
    kv_heads: int
    context: int
    base: float
    epsilon: float
    paired: bool
    names: dict[str, str]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Sizes":
        """Read the metadata.

        Raises:
            ValueError: not a llama model in GGUF or llama2.c format, or its metadata lacks an entry.
        """
        data, names = checkpoint.metadata, _NAMES.get(checkpoint.format, {})
        if checkpoint.format == "llama2.c":
            sizes = (data["layers"], data["heads"], data["kv_heads"], data["context"])
            return cls(*sizes, base=1e4, epsilon=1e-5, paired=True, names=names)
        architecture = data.get("general.architecture", checkpoint.format)
        if architecture != "llama":
            raise ValueError(f"{checkpoint.path}: architecture {architecture!r} must be 'llama'")
        try:
            heads = data["llama.attention.head_count"]
            return cls(
                layers=data["llama.block_count"],
                heads=heads,
                kv_heads=data.get("llama.attention.head_count_kv", heads),
                context=data["llama.context_length"],
                base=data.get("llama.rope.freq_base", 1e4),
                epsilon=data["llama.attention.layer_norm_rms_epsilon"],
                paired=False,
                names=names,
            )
        except KeyError as error:
            raise ValueError(f"{checkpoint.path}: metadata must have {error}") from None


@dataclass(frozen=True)
class _Block:
    """One layer: its linear layers by name and its norms."""

    linear: dict[str, Linear]
    attention_norm: Array
    ffn_norm: Array


class Llama:
    """A llama model.

    Args:
        checkpoint: its tensors; read once, here.
        linear: makes every linear layer of the blocks. The output layer stays in float32.
        layers: run only so many blocks; default: all.

    Attributes:
        sizes: of the whole model.
        embedding: float32 [vocabulary, width].
        channels: elements D of a head.

    Raises:
        ValueError: not a llama model, or incomplete.
    """

    def __init__(self, checkpoint: Checkpoint, linear: Factory = dense, layers: int | None = None) -> None:
        self.sizes = Sizes.of(checkpoint)
        tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
        names = self.sizes.names

        def get(part: str, layer: int = 0) -> Array:
            name = names[part].format(layer)
            if name not in tensors:
                raise ValueError(f"{checkpoint.path}: must have a tensor {name}")
            return tensors[name].array()

        self.embedding = get("embedding")
        self.channels = self.embedding.shape[1] // self.sizes.heads
        self._norm = get("norm")
        self._output = get("output") if names["output"] in tensors else self.embedding
        self._blocks = [
            _Block(
                {part: linear(names[part].format(layer), get(part, layer)) for part in LINEARS},
                get("attention_norm", layer),
                get("ffn_norm", layer),
            )
            for layer in range(min(layers or self.sizes.layers, self.sizes.layers))
        ]

    def memories(self, make: Callable[[int, int], Memory] = Plain) -> list[Memory]:
        """An empty memory for each layer, made of KV heads and channels."""
        return [make(self.sizes.kv_heads, self.channels) for _ in self._blocks]

    def hidden(self, tokens: ArrayLike, memories: Iterable[Memory] | None = None) -> Array:
        """Run tokens that follow those in the memories.

        Args:
            tokens: ids [n].
            memories: one a layer, to which the tokens are added; default: empty ones.

        Returns:
            What the output layer multiplies by, float32 [n, width].
        """
        x = self.embedding[np.asarray(tokens)]
        for block, memory in zip(self._blocks, memories or self.memories(), strict=True):
            x = x + self._attention(block, _normal(x, block.attention_norm, self.sizes.epsilon), memory)
            x = x + _swiglu(block, _normal(x, block.ffn_norm, self.sizes.epsilon))
        return _normal(x, self._norm, self.sizes.epsilon)

    def logits(self, hidden: Array) -> Array:
        """The output layer: [n, width] to [n, vocabulary]."""
        return hidden @ self._output.T

    def _attention(self, block: _Block, x: Array, memory: Memory) -> Array:
        first, (base, paired) = memory.tokens, (self.sizes.base, self.sizes.paired)
        query, key, value = (block.linear[part](x).reshape(len(x), -1, self.channels) for part in "qkv")
        query, key = (rotate(part, first, base, paired) for part in (query, key))
        memory.append(key.swapaxes(0, 1), value.swapaxes(0, 1))
        return block.linear["o"](attend(query, memory))


def _normal(x: Array, weights: Array, epsilon: float) -> Array:
    """RMSNorm."""
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(epsilon)) * weights


def _swiglu(block: _Block, x: Array) -> Array:
    gate = block.linear["gate"](x)
    with np.errstate(over="ignore"):  # exp of a large number is infinite, its reciprocal 0
        gate /= 1 + np.exp(-gate)
    return block.linear["down"](gate * block.linear["up"](x))
