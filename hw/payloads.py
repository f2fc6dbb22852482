"""The one table of stream payloads: what travels between the blocks of the accelerator."""

from amaranth.hdl import signed
from amaranth.lib import data, enum
from amaranth.utils import bits_for, ceil_log2

from golden.datatypes import LANE_BITS, MAXIMUM_TERMS
from hw.config import Config

__all__ = [
    "ActivationFormat",
    "OutputFormat",
    "activation_beat",
    "aligned_beat",
    "channels",
    "chunk",
    "group_scales",
    "group_summary",
    "matrix_format",
    "result",
    "term",
    "word",
]

SPECIALS = 4
SPECIAL_TERMS = 2
MANTISSA_BITS = 11
DISTANCE_BITS = 8
ZERO_POINT_BITS = 9
CHANNEL_MANTISSA_BITS = 8
EXPONENT_BITS = 8
REACH_BITS = 6


class ActivationFormat(enum.Enum, shape=1):
    """Number format of the activation stream."""

    FP16 = 0
    BF16 = 1


class OutputFormat(enum.Enum, shape=2):
    """Number format of the results."""

    FP16 = 0
    BF16 = 1
    FP32 = 2


term = data.StructLayout({"negative": 1, "select": 2})
"""One bit-serial term of ``golden.datatypes``: a sign, and 0 or 1 + the local exponent."""


def word(config: Config) -> data.StructLayout:
    """A word of packed weights; ``last`` closes the packet."""
    return data.StructLayout({"data": config.word_bits, "last": 1})


def activation_beat(config: Config) -> data.StructLayout:
    """FP16 or BF16 elements of every token column; ``last`` closes the vector, missing elements are +0."""
    lanes = data.ArrayLayout(16, config.activation_lanes)
    return data.StructLayout({"elements": data.ArrayLayout(lanes, config.columns), "last": 1})


def aligned_beat(config: Config) -> data.StructLayout:
    """Aligned integers of every token column; ``group_last`` closes a group, ``last`` the vector."""
    lanes = data.ArrayLayout(signed(config.activation_bits), config.activation_lanes)
    return data.StructLayout(
        {"elements": data.ArrayLayout(lanes, config.columns), "group_last": 1, "last": 1}
    )


def group_summary(config: Config) -> data.StructLayout:
    """Exponent field E and exact sum S of one token column's group."""
    return data.StructLayout({"exponent": EXPONENT_BITS, "sum": signed(config.sum_bits)})


def matrix_format(config: Config) -> data.StructLayout:
    """How the codes of a matrix become terms; constant within a packet."""
    return data.StructLayout(
        {
            "decoder": bits_for(len(config.decoders) - 1),
            "last_term": ceil_log2(MAXIMUM_TERMS),
            "shifts": data.ArrayLayout(bits_for(len(config.shifts) - 1), MAXIMUM_TERMS),
            "specials": data.ArrayLayout(data.ArrayLayout(term, SPECIAL_TERMS), SPECIALS),
        }
    )


def chunk(config: Config) -> data.StructLayout:
    """``rows`` x ``lanes`` codes, left-aligned in a byte each, with the selectors of their group.

    ``last`` marks a group's last chunk; ``final`` is set in every chunk of a row block's last group and
    ``finished`` in every chunk of the packet's last row block.
    """
    lanes = data.ArrayLayout(LANE_BITS, config.lanes)
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(lanes, config.rows),
            "selectors": data.ArrayLayout(ceil_log2(SPECIALS), config.rows),
            "format": matrix_format(config),
            "last": 1,
            "final": 1,
            "finished": 1,
        }
    )


def group_scales(config: Config) -> data.StructLayout:
    """Scale and offset of every row for one group, as mantissas and distances below the row's reference.

    A group adds ``(scale * (P + zero_point * S)) >> scale_distance`` and, when ``has_offset``,
    ``(offset * S) >> offset_distance`` to its output. ``reach`` bounds those terms: |term| < 2**reach.
    """
    row = data.StructLayout(
        {
            "scale": MANTISSA_BITS,
            "scale_distance": DISTANCE_BITS,
            "zero_point": signed(ZERO_POINT_BITS),
            "offset": signed(MANTISSA_BITS + 1),
            "offset_distance": DISTANCE_BITS,
        }
    )
    return data.StructLayout(
        {"rows": data.ArrayLayout(row, config.rows), "reach": REACH_BITS, "has_offset": 1}
    )


def channels(config: Config) -> data.StructLayout:
    """Output scale of every row of a block: ``mantissa * 2**exponent``.

    ``rows`` beyond ``count`` are padding and give no result; ``last`` marks the packet's last block;
    ``error`` says that the packet ended early and its missing bits were read as zero.
    """
    row = data.StructLayout({"mantissa": CHANNEL_MANTISSA_BITS, "exponent": signed(EXPONENT_BITS)})
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(row, config.rows),
            "count": bits_for(config.rows),
            "output": OutputFormat,
            "reach": REACH_BITS,
            "last": 1,
            "error": 1,
        }
    )


def result(config: Config) -> data.StructLayout:
    """One output row of every token column; a 16-bit format fills the low half of each element."""
    return data.StructLayout({"elements": data.ArrayLayout(32, config.columns), "last": 1, "error": 1})
