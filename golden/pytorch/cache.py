"""A cache of ``transformers`` that holds keys and values as a scheme of ``golden.kv`` has them."""

from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import Cache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from golden.kv.schemes import Scheme
from golden.pytorch.schemes import PREFIX, View, find

__all__ = ["KVCache"]


class KVCache(Cache):
    """Keys and values of every layer; full precision is kept beside what is quantised.

    A pass of one token, as in generation, finds what a query of ``golden.model`` finds, with any attention.
    In a pass of several tokens each query may find other tokens quantised; for that the model must have the
    scheme's attention (``golden.pytorch.use_scheme``).

    Padding counts as tokens; sliding windows keep all tokens. Codes are made on the processor, so that a
    model on an accelerator waits for it.

    Args:
        scheme: a name of ``golden.kv.get``, or a scheme.
        config: of the model.

    Raises (in a forward pass):
        ValueError: several tokens without the scheme's attention, an element that is not finite in float16,
            or heads that have no whole groups.
    """

    def __init__(self, scheme: str | Scheme, config: PreTrainedConfig | None = None) -> None:
        make = partial(_Layer, find(scheme), config)
        super().__init__(layer_class_to_replicate=make)  # pyright: ignore[reportArgumentType]


class _Layer(DynamicLayer):
    """Keys and values [B, H, T, D] of one layer."""

    def __init__(self, scheme: Scheme, config: PreTrainedConfig | None) -> None:
        super().__init__()
        self.scheme, self.config = scheme, config
        self._view: View | None = None
        self._keys: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens [B, H, n, D]; returns keys and values as the queries of these tokens find them.

        For the scheme's attention they are as they are, and the quantised ones are the keys' ``kvloom``.
        """
        same = self._keys is self.keys  # else tokens or sequences were cut, chosen or moved meanwhile
        keys, values = super().update(key_states, value_states)
        self._view = View.of(self.scheme, keys, values, self._view if same else None)
        self._keys = self.keys
        if str(getattr(self.config, "_attn_implementation", "")).startswith(PREFIX):
            keys.kvloom = self._view  # pyright: ignore[reportAttributeAccessIssue]
            return keys, values
        times = np.arange(keys.shape[-2] - key_states.shape[-2], keys.shape[-2])
        mixed = []
        counts = self.scheme.quantized(times)
        for x, quantized, count in zip(
            (self._view.recent_keys, self._view.recent_values),
            (self._view.keys, self._view.values),
            counts,
            strict=True,
        ):
            last = int(count[-1])
            if (np.minimum(count, times + 1) != np.minimum(last, times + 1)).any():
                raise ValueError(
                    f"a pass of {len(times)} tokens with this scheme needs use_scheme(model, scheme) and "
                    "KVCache(scheme, model.config)"
                )
            mixed.append(torch.cat([quantized[..., :last, :], x[..., last:, :]], -2))
        return mixed[0], mixed[1]
