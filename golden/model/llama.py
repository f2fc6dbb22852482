"""Llama models and their kin in float32: RMSNorm, rotary embedding, grouped-query attention, SwiGLU.

The linear layers and each layer's memory of keys and values are given from outside, so that both can be
quantised. Runs llama, mistral, qwen2 and qwen3 from GGUF files (SmolLM2) and Hugging Face folders, and
llama2.c's files (stories260K). Biases, norms of queries and keys, scalings of the rotary embedding and
sliding windows are those of the checkpoint; anything else is refused (``golden.model.configuration``).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.checkpoint import Checkpoint
from golden.model import configuration
from golden.model.architecture import LINEARS, Architecture, bias_of
from golden.model.attention import Memory, Plain, attend
from golden.model.linear import Factory, Linear, biased, dense
from golden.model.operations import FLOAT, Operations
from golden.model.rope import rotate

__all__ = ["Llama", "Parts"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Block:
    """One layer: its linear layers and its norms by their names, and how many keys a query sees."""

    linear: dict[str, Linear]
    norms: dict[str, Array]
    window: int | None


class Parts:
    """Reads the parts of a model."""

    def __init__(self, checkpoint: Checkpoint, architecture: Architecture) -> None:
        self.path, self.architecture = checkpoint.path, architecture
        self._tensors = {tensor.name: tensor for tensor in checkpoint.tensors}

    def name(self, part: str, layer: int = 0) -> str:
        return self.architecture.names[part].format(layer)

    def has(self, part: str) -> bool:
        return self.name(part) in self._tensors

    def __call__(self, part: str, layer: int = 0) -> Array:
        """A part in float32."""
        name, wanted = self.name(part, layer), self.architecture.shape(part)
        if name not in self._tensors:
            raise ValueError(f"{self.path}: must have a tensor {name}")
        found = self._tensors[name]
        fits = [size in (None, own) for size, own in zip(wanted, found.shape, strict=False)]
        if len(found.shape) != len(wanted) or not all(fits):
            shape = " x ".join("any" if size is None else str(size) for size in wanted)
            raise ValueError(f"{self.path}: tensor {name} of shape {found.shape} must be {shape}")
        return found.array()


def _output(get: Parts, embedding: Array) -> Array:
    """The output layer; where it is tied to the embedding, a copy in the file changes nothing."""
    if get.architecture.tied and not get.has("output"):
        return embedding
    output = get("output")
    if get.architecture.tied and not np.array_equal(output, embedding):
        raise ValueError(f"{get.path}: {get.name('output')} must be the embedding, to which it is tied")
    return output


def _block(get: Parts, layer: int, linear: Factory) -> _Block:
    parts, made = get.architecture.parts, {}
    for part in LINEARS:
        made[part] = linear(get.name(part, layer), get(part, layer))
        if bias_of(part) in parts:
            made[part] = biased(made[part], get(bias_of(part), layer))
    norms = {part: get(part, layer) for part in parts if part.endswith("_norm")}
    return _Block(made, norms, get.architecture.windows[layer])


class Llama:
    """A llama model.

    Args:
        checkpoint: its tensors; read once, here.
        linear: makes every linear layer of the blocks, without its bias.
        layers: run only so many blocks; default: all.
        output: makes the output layer, which is in float32 by default.
        operations: on vectors between the layers; biases are added in float32 whatever these are.

    Attributes:
        architecture: of the whole model.
        embedding: float32 [vocabulary, width].
        channels: elements D of a head.

    Raises:
        ValueError: not a model of a known architecture, incomplete, or with something not implemented.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        linear: Factory = dense,
        layers: int | None = None,
        output: Factory = dense,
        operations: Operations = FLOAT,
    ) -> None:
        self._operations = operations
        self.architecture = configuration.read(checkpoint)
        self.channels = self.architecture.channels
        get = Parts(checkpoint, self.architecture)
        self.embedding, self._norm = get("embedding"), get("norm")
        self._output = output(get.name("output"), _output(get, self.embedding))
        count = min(layers or self.architecture.layers, self.architecture.layers)
        self._blocks = [_block(get, layer, linear) for layer in range(count)]

    def memories(self, make: Callable[[int, int], Memory] = Plain) -> list[Memory]:
        """An empty memory for each layer, made of KV heads and channels."""
        return [make(self.architecture.kv_heads, self.channels) for _ in self._blocks]

    def hidden(self, tokens: ArrayLike, memories: Iterable[Memory] | None = None) -> Array:
        """Run tokens that follow those in the memories.

        Args:
            tokens: ids [n].
            memories: one a layer, to which the tokens are added; default: empty ones.

        Returns:
            What the output layer multiplies by, float32 [n, width].
        """
        x = self.embedding[np.asarray(tokens)]
        add = self._operations.add
        for block, memory in zip(self._blocks, memories or self.memories(), strict=True):
            x = add(x, self._attention(block, self._normal(x, block.norms["attention_norm"]), memory))
            x = add(x, self._swiglu(block, self._normal(x, block.norms["ffn_norm"])))
        return self._normal(x, self._norm)

    def logits(self, hidden: Array) -> Array:
        """The output layer: [n, width] to [n, vocabulary]."""
        return self._output(hidden)

    def _attention(self, block: _Block, x: Array, memory: Memory) -> Array:
        query, key, value = (block.linear[part](x).reshape(len(x), -1, self.channels) for part in "qkv")
        if "q_norm" in block.norms:
            query, key = self._normal(query, block.norms["q_norm"]), self._normal(key, block.norms["k_norm"])
        turning = self.architecture.angles, self.architecture.paired, self._operations.turn
        query, key = (rotate(part, memory.tokens, *turning) for part in (query, key))
        memory.append(key.swapaxes(0, 1), value.swapaxes(0, 1))
        return block.linear["o"](attend(query, memory, block.window))

    def _normal(self, x: Array, weights: Array) -> Array:
        """RMSNorm along the last axis."""
        return self._operations.norm(x, weights, self.architecture.epsilon)

    def _swiglu(self, block: _Block, x: Array) -> Array:
        wide = self._operations.silu_multiply(block.linear["gate"](x), block.linear["up"](x))
        return block.linear["down"](wide)
