"""Shapes of the named accelerators, as far as packed weights depend on them."""

from typing import NamedTuple

__all__ = ["PRESETS", "Shape"]


class Shape(NamedTuple):
    """What a packet is laid out for.

    Attributes:
        rows: outputs of a row block.
        lanes: inputs of a chunk.
        group: longest group, in inputs.
        word_bits: width of the memory's words; packets are whole words.
    """

    rows: int
    lanes: int
    group: int
    word_bits: int


PRESETS = {
    "tiny": Shape(rows=4, lanes=4, group=32, word_bits=64),
    "edge": Shape(rows=8, lanes=16, group=128, word_bits=256),
    "paper": Shape(rows=32, lanes=4, group=128, word_bits=512),
}
"""The presets of ``hw.config`` by their names."""
