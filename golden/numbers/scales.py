"""Scale formats: how a group's scale is stored as a mantissa and a distance below the output's reference.

The scale of output ``o`` and group ``g`` is ``channel[o] * mantissa[o,g] * 2**-distance[o,g]``. Every format
is a choice of how many bits the two parts take:

* ``int8``: BitMoD's second level, an 8-bit mantissa under one channel scale an output. The channel is a
  power of two, since the data type search runs after it is chosen and loses nothing by it;
* ``fp16``: the scale as IEEE half precision (GPTQ, AWQ, GGUF), its exponent kept as the distance to the
  largest one of the output, so that it fits five bits exactly;
* ``e8m0``: a power of two (OCP MX); ``e4m3``: 4-bit significand and exponent (NVFP4).
"""

from dataclasses import dataclass

__all__ = ["CHANNEL_EXPONENT_BITS", "FORMATS", "OFFSET_MANTISSA_BITS", "ScaleFormat", "get"]

CHANNEL_EXPONENT_BITS = 8
OFFSET_MANTISSA_BITS = 11


@dataclass(frozen=True)
class ScaleFormat:
    """Bits of a scale's two parts; a format without mantissa bits means a mantissa of 1."""

    name: str
    mantissa_bits: int
    distance_bits: int

    @property
    def bits(self) -> int:
        """Bits of one stored scale."""
        return self.mantissa_bits + self.distance_bits

    @property
    def significand_bits(self) -> int:
        """Bits of the integer that multiplies the dot product."""
        return max(self.mantissa_bits, 1)


FORMATS = (
    ScaleFormat("int8", 8, 0),
    ScaleFormat("fp16", 11, 5),
    ScaleFormat("e8m0", 0, 8),
    ScaleFormat("e4m3", 4, 4),
)


def get(name: str) -> ScaleFormat:
    """Look a scale format up by name.

    Raises:
        ValueError: no such format.
    """
    for entry in FORMATS:
        if entry.name == name:
            return entry
    raise ValueError(f"scale {name!r} must be one of {', '.join(entry.name for entry in FORMATS)}")
