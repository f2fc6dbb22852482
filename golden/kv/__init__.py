"""KV caches: formats, pages, attention; ``get`` looks a scheme up by its name."""

from golden.kv.schemes import get

__all__ = ["get"]
