"""Real activations: what every linear layer of a llama model gets to multiply, token by token.

A plain float32 forward pass over a short text: RMSNorm, rotary embedding, grouped-query attention, SwiGLU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.model.checkpoint import Checkpoint

__all__ = ["Linear", "layer_inputs", "sample_tokens"]

Array = NDArray[np.float32]

_GGUF_NAMES = {
    "q": "blk.{}.attn_q.weight",
    "k": "blk.{}.attn_k.weight",
    "v": "blk.{}.attn_v.weight",
    "o": "blk.{}.attn_output.weight",
    "gate": "blk.{}.ffn_gate.weight",
    "up": "blk.{}.ffn_up.weight",
    "down": "blk.{}.ffn_down.weight",
    "attention_norm": "blk.{}.attn_norm.weight",
    "ffn_norm": "blk.{}.ffn_norm.weight",
    "embedding": "token_embd.weight",
    "norm": "output_norm.weight",
    "output": "output.weight",
}
_LLAMA2C_NAMES = {
    **{part: f"layers.{{}}.w{part}" for part in "qkvo"},
    "gate": "layers.{}.w1",
    "up": "layers.{}.w3",
    "down": "layers.{}.w2",
    "attention_norm": "layers.{}.attention_norm",
    "ffn_norm": "layers.{}.ffn_norm",
    "embedding": "tok_embeddings",
    "norm": "norm",
    "output": "output",
}
# Token ids by the size of the vocabulary: SmolLM2's of "The moon moves the water of the sea: where it
# stands high the water rises, and some six hours later it falls again. People who live near the coast have
# known this for a very long time, but only Newton could say why.", and those of the stories models of "Once
# upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a
# big, red ball." behind the mark of a text's begin.
# fmt: off
_TEXTS = {
    49152: (
        504, 6783, 7488, 260, 913, 282, 260, 3426, 42, 837, 357, 6443, 904, 260, 913, 13685, 28,
        284, 634, 2976, 2737, 1916, 357, 8227, 1163, 30, 4228, 617, 2330, 2141, 260, 4051, 457,
        1343, 451, 327, 253, 1035, 986, 655, 28, 564, 805, 15903, 856, 1643, 1701, 30,
    ),
    512: (
        1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396,
        267, 337, 410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394,
        261, 370, 432, 352, 266, 268, 388, 426,
    ),
}
# fmt: on
_MOST = min(map(len, _TEXTS.values()))


class Linear(NamedTuple):
    """A linear layer: its name in the file, its weights ``[K, C]`` and its inputs ``[tokens, C]``."""

    name: str
    weights: Array
    inputs: Array


@dataclass(frozen=True)
class _Model:
    """What the forward pass needs to know of a checkpoint.

    Attributes:
        names: names of tensors, with a place for the layer's number.
        paired: rotary pairs are neighbours; otherwise they are in two halves of a head.
    """

    names: dict[str, str]
    layers: int
    heads: int
    kv_heads: int
    base: float
    epsilon: float
    paired: bool

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Model":
        """Read the metadata.

        Raises:
            ValueError: not a llama model in GGUF or llama2.c format, or its metadata lacks an entry.
        """
        data = checkpoint.metadata
        if checkpoint.format == "llama2.c":
            sizes = (data["layers"], data["heads"], data["kv_heads"])
            return cls(_LLAMA2C_NAMES, *sizes, base=1e4, epsilon=1e-5, paired=True)
        architecture = data.get("general.architecture", checkpoint.format)
        if architecture != "llama":
            raise ValueError(f"{checkpoint.path}: architecture {architecture!r} must be 'llama'")
        try:
            heads = data["llama.attention.head_count"]
            return cls(
                _GGUF_NAMES,
                layers=data["llama.block_count"],
                heads=heads,
                kv_heads=data.get("llama.attention.head_count_kv", heads),
                base=data.get("llama.rope.freq_base", 1e4),
                epsilon=data["llama.attention.layer_norm_rms_epsilon"],
                paired=False,
            )
        except KeyError as error:
            raise ValueError(f"{checkpoint.path}: metadata must have {error}") from None


def sample_tokens(checkpoint: Checkpoint, count: int) -> list[int]:
    """The first tokens of a real text where the vocabulary is a known one, else ids spread over all of it.

    Raises:
        ValueError: ``count`` is out of range.
    """
    if not 1 <= count <= _MOST:
        raise ValueError(f"tokens {count} must be 1..{_MOST}")
    vocabulary = checkpoint[_Model.of(checkpoint).names["embedding"]].shape[0]
    spread = np.linspace(0, vocabulary - 1, count).astype(int).tolist()
    return list(_TEXTS.get(vocabulary, spread)[:count])


def layer_inputs(
    checkpoint: Checkpoint, tokens: list[int], layers: int | None = None, output: bool = False
) -> Iterator[Linear]:
    """Run a model and yield its linear layers as they come.

    Args:
        checkpoint: a llama model.
        tokens: what to run it over, from the first position on.
        layers: stop after so many blocks; default: all.
        output: last, also the output layer, whose weights may be the embedding.

    Raises:
        ValueError: not a llama model, or its metadata lacks an entry.
    """
    model = _Model.of(checkpoint)
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    hidden = tensors[model.names["embedding"]].array()[tokens]
    for layer in range(model.layers if layers is None else min(layers, model.layers)):
        seen: list[Linear] = []

        def get(part: str, layer: int = layer) -> Array:
            return tensors[model.names[part].format(layer)].array()

        def linear(part: str, x: Array, layer: int = layer, seen: list[Linear] = seen) -> Array:
            weights = get(part, layer)
            seen.append(Linear(model.names[part].format(layer), weights, x))
            return x @ weights.T

        x = _norm(hidden, get("attention_norm"), model.epsilon)
        hidden = hidden + linear("o", _attention(model, x, linear))
        x = _norm(hidden, get("ffn_norm"), model.epsilon)
        gate = linear("gate", x)
        gated = (gate / (1 + np.exp(-gate)) * linear("up", x)).astype(np.float32)
        hidden = hidden + linear("down", gated)
        yield from seen
    if output:
        x = _norm(hidden, tensors[model.names["norm"]].array(), model.epsilon)
        name = model.names["output" if model.names["output"] in tensors else "embedding"]
        yield Linear(name, tensors[name].array(), x)


def _norm(x: Array, weights: Array, epsilon: float) -> Array:
    """RMSNorm."""
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(epsilon)) * weights


def _attention(model: _Model, x: Array, linear: Callable[[str, Array], Array]) -> Array:
    """Causal attention of all heads, before the output projection."""
    count = len(x)
    query = _rotate(model, linear("q", x).reshape(count, model.heads, -1))
    key = _rotate(model, linear("k", x).reshape(count, model.kv_heads, -1))
    value = linear("v", x).reshape(count, model.kv_heads, -1)
    key, value = (np.repeat(part, model.heads // model.kv_heads, axis=1) for part in (key, value))
    scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(query.shape[-1]))
    scores = np.where(np.tril(np.ones((count, count), bool)), scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, value).reshape(count, -1)


def _rotate(model: _Model, x: Array) -> Array:
    """Rotary embedding of ``[tokens, heads, head size]``."""
    half = x.shape[-1] // 2
    angles = np.arange(len(x))[:, None] * model.base ** (-np.arange(half) / half)
    cosine, sine = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    first, second = (x[..., 0::2], x[..., 1::2]) if model.paired else (x[..., :half], x[..., half:])
    turned = first * cosine - second * sine, first * sine + second * cosine
    return np.stack(turned, -1).reshape(x.shape) if model.paired else np.concatenate(turned, -1)
