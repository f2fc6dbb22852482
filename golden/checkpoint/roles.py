"""What a tensor is: a linear layer's matrix, or something that no quantised product multiplies by.

Three tables decide, none of them code: names that are never a linear layer, whatever the architecture; names
of linear layers of known architectures; and for the rest any matrix called ``weight``. A known architecture's
matrix that is in no table is left alone and said so. ``--include`` and ``--skip`` come before all of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from golden.checkpoint.tensor import LINEAR, Checkpoint, Tensor

__all__ = ["FAMILIES", "assign", "choose"]

_NEVER = (
    ("rotary table", ("*rope_freqs*", "*rotary*", "*inv_freq*")),
    ("relative positions", ("*relative_attention_bias*", "*attn_rel_b*", "*relative_position*")),
    ("router", ("*router*", "*.gate.weight", "*ffn_gate_inp*", "*shared_expert_gate*", "*.gate")),
    ("bias", ("*bias", "*_bias", "*.bias_*")),
    ("norm", ("*norm*", "*.ln_*", "ln_*", "*layer_norm*")),
    (
        "embedding",
        ("*embd*", "*embed*", "*wte*", "*wpe*", "shared.weight", "*.shared.weight", "token_types*"),
    ),
    ("convolution", ("*conv1d*", "*.conv*", "conv*")),
    ("state matrix", ("*a_log", "*ssm_a", "*ssm_d", "*mixer.d")),
)
"""Roles and the names that have them, in lower case; the first that fits."""

_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj")
_EXPERTS = ("w1", "w2", "w3")
_GGUF = (
    *("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    *(f"ffn_{part}_{kind}" for part in ("gate", "up", "down", "gate_up") for kind in ("exps", "shexp")),
    *("attn_o", "cross_attn_q", "cross_attn_k", "cross_attn_v", "cross_attn_o"),
    *("ssm_in", "ssm_x", "ssm_dt", "ssm_out", "output", "cls", "attn_gate"),
)

FAMILIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text"), _LLAMA
    ),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss"), _LLAMA + _EXPERTS),
    "phi": (*_LLAMA, "dense", "fc1", "fc2"),
    "phi3": (*_LLAMA, "qkv_proj"),
    "gpt2": ("c_attn", "c_proj", "c_fc", "q_attn"),
    "bert": ("query", "key", "value", "dense", "decoder", "classifier"),
    "t5": ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"),
    "mamba": ("in_proj", "x_proj", "dt_proj", "out_proj"),
}
"""Linear layers of architectures as Hugging Face names them; ``lm_head`` is one of all."""

_KNOWN_GGUF = frozenset(
    (
        *("llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "gemma", "gemma2", "gemma3", "phi2", "phi3"),
        *("gpt2", "gpt-oss", "bert", "t5", "t5encoder", "mamba"),
    )
)
_TRANSPOSED = {"gpt2": ("c_attn", "c_proj", "c_fc", "q_attn"), "gpt_oss": ("gate_up_proj", "down_proj")}
"""Layers whose matrices are stored inputs before outputs, as long as they are not packed."""

_SIGNATURES = (
    ("gpt2", "*attn.c_attn.weight"),
    ("t5", "*SelfAttention.q.weight"),
    ("mamba", "*mixer.A_log"),
    ("bert", "*attention.self.query.weight"),
)
"""Names by which an architecture is known where no metadata say it."""


def assign(checkpoint: Checkpoint) -> Checkpoint:
    """Give every tensor without a role its role; matrices that are stored transposed are turned."""
    family, linear = _family(checkpoint)
    turned = _TRANSPOSED.get(family, ())

    def known(tensor: Tensor) -> Tensor:
        if tensor.role:
            return tensor
        role = _role(tensor, family, linear)
        if role == LINEAR and not tensor.blocks and _part(tensor.name) in turned:
            tensor = tensor.transposed()
        return replace(tensor, role=role)

    return replace(checkpoint, tensors=tuple(map(known, checkpoint.tensors)))


def choose(checkpoint: Checkpoint, include: Sequence[str], skip: Sequence[str]) -> Checkpoint:
    """Make the tensors whose names fit a pattern linear, or leave them alone; the last word of all tables.

    Raises:
        ValueError: a pattern fits no tensor, or an included one is no matrix.
    """
    for option, patterns in ("--include", include), ("--skip", skip):
        for pattern in patterns:
            if not any(fnmatchcase(tensor.name, pattern) for tensor in checkpoint.tensors):
                raise ValueError(f"argument {option}: {pattern!r} must fit the name of a tensor")

    def chosen(tensor: Tensor) -> str:
        if any(fnmatchcase(tensor.name, pattern) for pattern in skip):
            return "skipped"
        if any(fnmatchcase(tensor.name, pattern) for pattern in include):
            if reason := _shapeless(tensor):
                raise ValueError(f"argument --include: tensor {tensor.name} is {reason}, must be a matrix")
            return LINEAR
        return tensor.role

    return checkpoint.with_roles(chosen)


def _family(checkpoint: Checkpoint) -> tuple[str, tuple[str, ...]]:
    """The architecture as far as it is known, and the names of its linear layers; empty: any."""
    data: dict[str, Any] = checkpoint.metadata
    if checkpoint.format == "gguf":
        name = str(data.get("general.architecture", ""))
        return name, _GGUF if name in _KNOWN_GGUF else ()
    name = str(data.get("model_type", ""))
    if not name:
        name = next((family for family, pattern in _SIGNATURES if _shows(checkpoint, family, pattern)), "")
    return name, FAMILIES.get(name, ())


def _shows(checkpoint: Checkpoint, family: str, pattern: str) -> bool:
    """Whether a tensor has the name of an architecture's, and GPT-2's first matrix its shape [C, 3C]."""
    found = [tensor for tensor in checkpoint.tensors if fnmatchcase(tensor.name, pattern)]
    return bool(found) and (family != "gpt2" or found[0].shape[1:] == (3 * found[0].shape[0],))


def _part(name: str) -> str:
    """The layer's own name: the last word but ``weight``."""
    words = [word for word in name.split("[")[0].split(".") if word != "weight"]
    return words[-1] if words else ""


def _role(tensor: Tensor, family: str, linear: Iterable[str]) -> str:
    lower = tensor.name.lower()
    for role, patterns in _NEVER:
        if any(fnmatchcase(lower, pattern) for pattern in patterns):
            return role
    if reason := _shapeless(tensor):
        return reason
    if linear:
        return LINEAR if _part(tensor.name) in (*linear, "lm_head") else f"not known in {family}"
    if len(tensor.shape) == 3:
        return LINEAR if "exps" in lower or "experts" in lower else "not a matrix"
    return LINEAR if tensor.blocks or lower.endswith("weight") else "not called weight"


def _shapeless(tensor: Tensor) -> str:
    """Why a tensor cannot be a linear layer's, whatever its name."""
    if not tensor.size:
        return "without elements"
    if len(tensor.shape) not in (2, 3) or (len(tensor.shape) == 3 and tensor.expert is None):
        return "not a matrix"
    if min(tensor.shape[-2:]) < 2:
        return "a vector"
    if not tensor.blocks and tensor.kind not in ("F16", "BF16", "F32", "F64"):
        return f"of {tensor.kind}"
    return ""
