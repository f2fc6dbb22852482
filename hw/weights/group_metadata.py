"""Group metadata: the columns that follow a group's codes, for the types that the hardware supports."""

from functools import cache

from amaranth.lib import enum

from golden.numbers import scales
from golden.numbers.scales import ScaleFormat
from golden.weights.packet import CHANNEL_FIELDS, Field, metadata_fields
from hw.config import Config

__all__ = ["CHANNEL_GRANULES", "Tail", "longest_metadata", "scale_fields", "scale_lengths", "tails"]

CHANNEL_GRANULES = sum(bits for _, bits in CHANNEL_FIELDS)


class Tail(enum.Enum, shape=2):
    """What follows the scales of a group."""

    NONE = 0
    ZERO = 1
    OFFSET = 2


def tails(config: Config) -> tuple[Tail, ...]:
    """Tails that packets of the supported types can have."""
    asymmetric = any(entry.asymmetric for entry in config.datatypes)
    return (Tail.NONE, Tail.ZERO, Tail.OFFSET) if asymmetric else (Tail.NONE, Tail.OFFSET)


def scale_fields(scale: ScaleFormat, tail: Tail, config: Config) -> tuple[Field, ...]:
    """Scales and what follows them, in order, each with the bits of an entry.

    ``zero``, always the last field, counts with the most bits of any supported type.
    """
    fitting = [entry for entry in config.datatypes if entry.asymmetric or tail != Tail.ZERO]
    widest = max(fitting, key=lambda entry: entry.bits)
    fields = metadata_fields(widest, scale, tail == Tail.OFFSET)
    return tuple(field for field in fields if field[0] != "zero" or tail == Tail.ZERO)


def scale_lengths(config: Config) -> tuple[int, ...]:
    """Every number of granules that the scales of a group can have, offset or zeros included."""
    kinds = [
        metadata_fields(dtype, scale, has_offset)
        for dtype in config.datatypes
        for scale in scales.FORMATS
        for has_offset in (False, True)
    ]
    return tuple(sorted({sum(bits for _, bits in fields) for fields in kinds}))


@cache
def longest_metadata(config: Config) -> int:
    """Granules of the longest scales, channels, and selectors of the next group, one behind the other."""
    selectors = max(entry.selector_bits for entry in config.datatypes)
    return max(scale_lengths(config)) + CHANNEL_GRANULES + selectors
