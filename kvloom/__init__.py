"""kvloom under one name: ``kvloom.golden``, ``kvloom.hw``, ``kvloom.sim`` and ``kvloom.synth``.

They are the very packages ``golden``, ``hw``, ``sim`` and ``synth``, loaded when asked for;
``__version__`` is the version.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import golden
    import hw
    import sim
    import synth

__version__ = "0.1.0"
__all__ = ["__version__", "golden", "hw", "sim", "synth"]

_PACKAGES = ("golden", "hw", "sim", "synth")


def __getattr__(name: str) -> ModuleType:
    if name in _PACKAGES:
        return importlib.import_module(name)
    raise AttributeError(f"module 'kvloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PACKAGES])
