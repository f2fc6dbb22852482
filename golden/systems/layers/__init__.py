"""What the queries of one layer find while a model decodes with a cache system, token by token."""

from golden.systems.layers.layer import Layer

__all__ = ["Layer"]
