"""Architectures that ``golden.model.llama`` runs: their parts, and the names of these in each format."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint import Checkpoint

__all__ = ["ARCHITECTURES", "IN_ALL", "LINEARS", "Architecture", "bias_of", "names"]

LINEARS = ("q", "k", "v", "o", "gate", "up", "down")
"""Linear layers of a block."""

IN_ALL = (*LINEARS, "attention_norm", "ffn_norm")
"""Parts that a block of every architecture has."""


def bias_of(part: str) -> str:
    """Name of the part that is added to a linear layer's outputs."""
    return f"{part}_bias"


ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "llama": (),
    "mistral": (),
    "qwen2": tuple(map(bias_of, "qkv")),
    "qwen3": ("q_norm", "k_norm"),
}
"""Known architectures, and the parts of a block that each has beside those of all."""

_PREFIXES = {"gguf": "blk.{}.", "huggingface": "model.layers.{}.", "llama2.c": "layers.{}."}
_SUFFIXES = {"gguf": (".weight", ".bias"), "huggingface": (".weight", ".bias"), "llama2.c": ("", "")}

# Of each part the names in these formats, "" where there is none, and its shape.
_IN_BLOCK: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "q": ("attn_q", "self_attn.q_proj", "wq", ("queries", "width")),
    "k": ("attn_k", "self_attn.k_proj", "wk", ("keys", "width")),
    "v": ("attn_v", "self_attn.v_proj", "wv", ("keys", "width")),
    "o": ("attn_output", "self_attn.o_proj", "wo", ("width", "queries")),
    "gate": ("ffn_gate", "mlp.gate_proj", "w1", ("hidden", "width")),
    "up": ("ffn_up", "mlp.up_proj", "w3", ("hidden", "width")),
    "down": ("ffn_down", "mlp.down_proj", "w2", ("width", "hidden")),
    "attention_norm": ("attn_norm", "input_layernorm", "attention_norm", ("width",)),
    "ffn_norm": ("ffn_norm", "post_attention_layernorm", "ffn_norm", ("width",)),
    "q_norm": ("attn_q_norm", "self_attn.q_norm", "", ("channels",)),
    "k_norm": ("attn_k_norm", "self_attn.k_norm", "", ("channels",)),
}
_OUTSIDE: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "embedding": ("token_embd", "model.embed_tokens", "tok_embeddings", ("vocabulary", "width")),
    "norm": ("output_norm", "model.norm", "norm", ("width",)),
    "output": ("output", "lm_head", "output", ("vocabulary", "width")),
    "factors": ("rope_freqs", "", "", ("pairs",)),
}
_SHAPES = {part: row[3] for part, row in (_IN_BLOCK | _OUTSIDE).items()}
_SHAPES |= {bias_of(part): _SHAPES[part][:1] for part in LINEARS}

_COMPUTED = {"gguf": (), "huggingface": (".rotary_emb.inv_freq",), "llama2.c": ("rotary",)}
"""Ends of names of tensors that hold what is computed here."""


def names(form: str) -> dict[str, str]:
    """Names of tensors in a format by their part, those in blocks with a place for the layer's number."""
    column, prefix, (weight, bias) = list(_PREFIXES).index(form), _PREFIXES[form], _SUFFIXES[form]
    found = {part: f"{prefix}{row[column]}{weight}" for part, row in _IN_BLOCK.items() if row[column]}
    found |= {part: f"{row[column]}{weight}" for part, row in _OUTSIDE.items() if row[column]}
    return found | {bias_of(part): f"{prefix}{_IN_BLOCK[part][column]}{bias}" for part in LINEARS if bias}


@dataclass(frozen=True, eq=False)
class Architecture:
    """What a forward pass needs to know of a checkpoint beside its tensors.

    Attributes:
        name: one of ``ARCHITECTURES``.
        names: names of tensors by their part, as ``names`` has them.
        parts: parts of each block.
        layers, heads, kv_heads: counts.
        channels: elements D of a head.
        width: elements of a token between the blocks.
        hidden: elements between the linear layers of SwiGLU; None where the metadata do not say.
        context: longest text the model was trained on, in tokens.
        epsilon: of the norms.
        angles: of the rotary embedding, per position, float64 [pairs].
        windows: of each layer, how many of the newest keys a query sees; None for all.
        tied: the output layer is the embedding.
        paired: rotary pairs are neighbours; otherwise they are in two halves of the channels turned.
    """

    name: str
    names: dict[str, str]
    parts: tuple[str, ...]
    layers: int
    heads: int
    kv_heads: int
    channels: int
    width: int
    hidden: int | None
    context: int
    epsilon: float
    angles: NDArray[np.float64]
    windows: tuple[int | None, ...]
    tied: bool
    paired: bool = False

    def shape(self, part: str) -> tuple[int | None, ...]:
        """Shape of a part; None for what only its tensor knows."""
        sizes = {
            "queries": self.heads * self.channels,
            "keys": self.kv_heads * self.channels,
            "channels": self.channels,
            "width": self.width,
            "hidden": self.hidden,
        }
        return tuple(sizes.get(size) for size in _SHAPES[part])

    def refuse_others(self, checkpoint: Checkpoint) -> None:
        """See that every tensor of a checkpoint is a part of the model.

        Raises:
            ValueError: one is not.
        """
        known = {self.names[part] for part in _OUTSIDE if part in self.names}
        known |= {self.names[part].format(layer) for part in self.parts for layer in range(self.layers)}
        for tensor in checkpoint.tensors:
            if tensor.name not in known and not tensor.name.endswith(_COMPUTED[checkpoint.format]):
                raise ValueError(
                    f"{checkpoint.path}: tensor {tensor.name} must be a part of a {self.name} model of"
                    f" {self.layers} layers, as the metadata describe it"
                )
