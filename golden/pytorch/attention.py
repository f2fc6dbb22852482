"""Attention of ``transformers`` on quantised keys and values: queries find what they would while decoding."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from golden.kv.schemes import Scheme
from golden.pytorch.schemes import View, attention_name, find

__all__ = ["use_scheme"]

_BLOCK = 256
"""Queries that are computed together."""


def use_scheme(model: PreTrainedModel, scheme: str | Scheme) -> None:
    """Quantise keys and values in every forward pass of a causal model, with or without a cache.

    Texts that are scored in one pass see the cache as if they had been decoded token by token. With a
    ``KVCache`` of the same scheme nothing is quantised twice.

    Args:
        model: of ``transformers``, one whose attention can be chosen by name.
        scheme: a name of ``golden.kv.get``, or a scheme.

    Raises (some in a forward pass):
        ValueError: no such scheme, an element that is not finite in float16, heads that have no whole groups,
            or attention that is not causal, is capped or has sinks.
    """
    name = attention_name(scheme)
    AttentionInterface.register(name, partial(_attend, find(scheme)))
    AttentionMaskInterface.register(name, eager_mask)
    model.set_attn_implementation(name)


def _attend(
    scheme: Scheme,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Outputs [B, n, N, D] of queries [B, N, n, D], the newest tokens of keys and values [B, H, T, D]."""
    _check(module, query, key, attention_mask, others)
    view = getattr(key, "kvloom", None) or View.of(scheme, key, value)
    if view.scheme != scheme:
        raise ValueError("a KVCache must have the scheme that use_scheme gave to the model")
    repeats, tokens, count = query.shape[1] // key.shape[1], key.shape[2], query.shape[2]
    keys, values, old_keys, old_values = (
        x.repeat_interleave(repeats, 1)
        for x in (view.recent_keys, view.recent_values, view.keys, view.values)
    )
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    outputs = []
    for start in range(0, count, _BLOCK):
        own = query[:, :, start : start + _BLOCK] * factor
        times = np.arange(tokens - count + start, tokens - count + start + own.shape[2])
        older_keys, older_values = (_older(x, tokens, query.device) for x in scheme.quantized(times))
        scores = torch.where(older_keys, own @ old_keys.mT, own @ keys.mT)
        if attention_mask is not None:
            scores = scores + attention_mask[:, :, start : start + _BLOCK, :tokens]
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        older, recent = weights.masked_fill(~older_values, 0), weights.masked_fill(older_values, 0)
        outputs.append(older @ old_values + recent @ values)
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


def _older(counts: np.ndarray, tokens: int, device: torch.device) -> torch.Tensor:
    """Which of the keys each query finds quantised, bool [n, T]."""
    return torch.arange(tokens, device=device) < torch.from_numpy(counts).to(device)[:, None]


def _check(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    attention_mask: torch.Tensor | None,
    others: dict[str, Any],
) -> None:
    """Refuse attention that this file does not compute."""
    count = query.shape[2]
    if not getattr(module, "is_causal", True) or (attention_mask is None and count > 1):
        raise ValueError("attention of a quantised cache must be causal")
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise ValueError(f"attention of a quantised cache must be without {name}")
    if others.get("sliding_window") and key.shape[2] > count and not hasattr(key, "kvloom"):
        raise ValueError("a cache of a model with sliding windows must be a KVCache")
