"""Keys and values of PyTorch, quantised by a scheme of ``golden.kv``."""

from dataclasses import dataclass

import numpy as np
import torch

from golden.kv.formats import Format
from golden.kv.schemes import Scheme, get
from golden.model.kv_schemes import restored

__all__ = ["PREFIX", "View", "attention_name", "find"]

PREFIX = "kvloom_"
"""What the names of attention functions begin with."""


@dataclass(frozen=True)
class View:
    """Keys and values [B, H, T, D] of a layer after quantising by a scheme, all of them.

    ``recent_keys`` and ``recent_values`` are what queries find until a token is quantised so.
    """

    scheme: Scheme
    keys: torch.Tensor
    values: torch.Tensor
    recent_keys: torch.Tensor
    recent_values: torch.Tensor

    @classmethod
    def of(
        cls, scheme: Scheme, keys: torch.Tensor, values: torch.Tensor, earlier: "View | None" = None
    ) -> "View":
        """Quantise.

        Args:
            scheme: how.
            keys, values: as they are, [B, H, T, D].
            earlier: of the first of these tokens; its complete pages are kept.

        Raises:
            ValueError: an element that is not finite in float16, or heads that have no whole groups.
        """
        known = 0 if earlier is None else earlier.keys.shape[-2] // scheme.page * scheme.page
        new = (
            _restored(form, scheme.page, x[..., known:, :])
            for form, x in ((scheme.key, keys), (scheme.value, values))
        )
        recent = keys, values
        if (window := scheme.window_format) is not None:
            seen = 0 if earlier is None else earlier.keys.shape[-2]
            recent = tuple(_restored(window, 1, x[..., seen:, :]) for x in recent)
            if earlier is not None:
                pairs = zip((earlier.recent_keys, earlier.recent_values), recent, strict=True)
                recent = tuple(torch.cat(pair, -2) for pair in pairs)
        if earlier is not None:
            pairs = zip((earlier.keys, earlier.values), new, strict=True)
            new = tuple(torch.cat([old[..., :known, :], x], -2) for old, x in pairs)
        return cls(scheme, *new, *recent)


def _restored(form: Format, page: int, x: torch.Tensor) -> torch.Tensor:
    heads = x.detach().to("cpu", torch.float32).flatten(0, 1).numpy()
    back = restored(form, page, np.ascontiguousarray(heads))
    return torch.from_numpy(back).to(x.device, x.dtype).reshape(x.shape)


def find(scheme: str | Scheme) -> Scheme:
    """A scheme by its name, or itself."""
    return get(scheme) if isinstance(scheme, str) else scheme


def attention_name(scheme: str | Scheme) -> str:
    """Name of a scheme's attention function in ``transformers``."""
    return PREFIX + (scheme if isinstance(scheme, str) else f"{hash(scheme) & 0xFFFFFFFF:08x}")
