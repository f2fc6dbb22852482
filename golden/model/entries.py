"""Metadata of a checkpoint, read by name: what nobody asked for and could change a result is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Entries"]

_HARMLESS = {
    "gguf": (
        *("vocab_size", "tensor_data_layout"),
        *("rope.scaling.original_context_length", "rope.scaling.finetuned"),
    ),
    "huggingface": (
        *("architectures", "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache"),
        *("vocab_size", "initializer_range", "attention_dropout", "pretraining_tp", "_name_or_path"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "return_dict", "chunk_size_feed_forward"),
        *("id2label", "label2id", "is_llama_config", "transformers.js_config"),
        # How weights are stored is the reader's matter; tensors that it leaves as they are, are refused.
        *("quantization_config", "compression_config", "quantization"),
    ),
    "rope": ("type", "original_max_position_embeddings"),
}
"""Entries of each kind of metadata that change no result."""

_FIXED = {
    "gguf": {"attention.causal": True, "rope.scaling.attn_factor": 1, "rope.scale_linear": 1},
    "huggingface": {"hidden_act": "silu"},
    "rope": {"partial_rotary_factor": 1},
}
"""Entries that may only say what is done anyway."""


@dataclass
class Entries:
    """Entries of one kind of metadata; null counts as absent.

    Attributes:
        path: of the checkpoint, for messages.
        kind: "gguf", "huggingface" or "rope".
        values: the entries by their names, without ``prefix``.
        prefix: what stands before the names in the file.
        asked: names that were asked for.
    """

    path: Path
    kind: str
    values: Mapping[str, Any]
    prefix: str = ""
    asked: set[str] = field(default_factory=set)

    def get(self, name: str, default: Any = None) -> Any:
        """An entry, or the default where there is none."""
        self.asked.add(name)
        value = self.values.get(name)
        return default if value is None else value

    def count(self, name: str, default: int | None = None) -> int:
        """A positive whole number; without a default it must be there.

        Raises:
            ValueError: it is not.
        """
        value = self._needed(name, default)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise self.error(name, value, "must be a positive whole number")
        return int(value)

    def real(self, name: str, default: float | None = None) -> float:
        """A positive number; without a default it must be there.

        Raises:
            ValueError: it is not.
        """
        value = self._needed(name, default)
        known = isinstance(value, (Integral, float, np.floating)) and not isinstance(value, bool)
        number = float(value) if known else 0
        if not number > 0:
            raise self.error(name, value, "must be a positive number")
        return number

    def error(self, name: str, value: Any, what: str) -> ValueError:
        """The error of an entry."""
        return ValueError(f"{self.path}: {self.prefix}{name} {value!r} {what}")

    def close(self) -> None:
        """See that everything was asked for, is empty, or changes no result.

        Raises:
            ValueError: an entry is and does not.
        """
        fixed, harmless = _FIXED[self.kind], _HARMLESS[self.kind]
        for name, value in self.values.items():
            if name in self.asked or name in harmless or value in (None, False, 0, "", [], (), {}):
                continue
            if name not in fixed:
                raise self.error(name, value, "is not implemented")
            if value != fixed[name]:
                raise self.error(name, value, f"must be {fixed[name]!r}")

    def _needed(self, name: str, default: float | None) -> Any:
        value = self.get(name, default)
        if value is None:
            raise ValueError(f"{self.path}: metadata must have {self.prefix + name!r}")
        return value
