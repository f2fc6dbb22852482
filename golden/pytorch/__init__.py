"""kvloom's numerics inside PyTorch models of ``transformers``.

    from golden.pytorch import KVCache, replace_linears, use_scheme

    replace_linears(model, "bitmod4")              # weights; exact=True: the accelerator's bits
    use_scheme(model, "native4")                   # keys and values, in every forward pass
    model.generate(**inputs, cache=KVCache("native4", model.config))

Nothing here imports PyTorch before a name is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from golden import optional

if TYPE_CHECKING:
    from golden.pytorch.attention import use_scheme
    from golden.pytorch.cache import KVCache
    from golden.pytorch.linear import ExactLinear, replace_linears

__all__ = ["ExactLinear", "KVCache", "replace_linears", "use_scheme"]

_HOMES = {"ExactLinear": "linear", "KVCache": "cache", "replace_linears": "linear", "use_scheme": "attention"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used.

    Raises:
        MissingPart: PyTorch or transformers is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    what = f"{__name__}.{name}"
    optional.require((what, optional.TORCH, True), (what, optional.TRANSFORMERS, True))
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
