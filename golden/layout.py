"""Packed weights by their short name: see ``golden.weights.layout``."""

from golden.weights.layout import pack, unpack

__all__ = ["pack", "unpack"]
