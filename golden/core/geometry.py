"""Sizes of a decode core that its memory image and its numbers depend on."""

from dataclasses import dataclass

from golden.core.kv_shape import KvShape
from golden.numbers.numerics import Numerics
from golden.weights.presets import PRESETS as SHAPES

__all__ = ["PRESETS", "Geometry", "get"]


@dataclass(frozen=True)
class Geometry(KvShape):
    """A decode core, as far as golden needs to know it.

    Attributes:
        scratch: elements of scratch memory.
    """

    scratch: int


def _preset(name: str, maximum_inputs: int, channels: int, queries: int, scratch: int) -> Geometry:
    rows, lanes, group, memory_bits = SHAPES[name]
    numerics = Numerics(group=group, maximum_inputs=maximum_inputs)
    return Geometry(rows, lanes, 32, channels, queries, memory_bits, numerics, scratch)


PRESETS = {
    "tiny": _preset("tiny", maximum_inputs=512, channels=32, queries=4, scratch=1024),
    "edge": _preset("edge", maximum_inputs=16384, channels=128, queries=8, scratch=5120),
}
"""Cores of the presets of ``hw.config``."""


def get(name: str) -> Geometry:
    """Look a preset's core up.

    Raises:
        ValueError: no such preset, or one without a core.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} must be one of {', '.join(PRESETS)}")
    return PRESETS[name]
