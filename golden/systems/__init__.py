"""The published cache systems; ``get`` looks up a scheme of any of them, or of plain formats, by its name."""

from golden.systems.registry import get

__all__ = ["get"]
