"""Stream payloads of the attention engine."""

from amaranth.hdl import signed
from amaranth.lib import data, enum
from amaranth.utils import bits_for

from golden.attention.widths import SUM_BITS
from hw.config import Config
from hw.kv.payloads import HALF_BITS, Side

__all__ = [
    "CENTRE_BITS",
    "MOVED_BITS",
    "TERM_BITS",
    "TOP_BITS",
    "Access",
    "folded_beat",
    "folding_beat",
    "offset_term",
    "tf32",
    "value_dots",
    "value_segment",
    "value_sum",
]

CENTRE_BITS = 3
TOP_BITS = 5
TERM_BITS = 52
MOVED_BITS = 6

tf32 = data.StructLayout({"fraction": 10, "exponent": 8, "negative": 1})
"""A number of ``golden.numbers.floats``."""


def folding_beat(config: Config) -> data.StructLayout:
    """Consecutive elements of a vector, each with its step and offset; ``last`` closes the vector.

    ``operand`` is an element of a query or a weight: 0, or 2^-32 to 2^16 in magnitude. ``step`` and
    ``offset`` are finite float16. The others are constant within a vector: ``top``, of values, is the
    exponent field that no step or offset of the head exceeds; codes are less ``2**centre``, or less nothing
    where ``centre`` is 0.
    """
    element = data.StructLayout({"operand": tf32, "step": HALF_BITS, "offset": HALF_BITS})
    return data.StructLayout(
        {
            "elements": data.ArrayLayout(element, config.activation_lanes),
            "side": Side,
            "top": TOP_BITS,
            "centre": CENTRE_BITS,
            "last": 1,
        }
    )


def folded_beat(config: Config) -> data.StructLayout:
    """Consecutive activations of a vector; ``last`` closes it."""
    return data.StructLayout({"elements": data.ArrayLayout(tf32, config.activation_lanes), "last": 1})


offset_term = signed(TERM_BITS)
"""A vector's offset term: of keys in units of 2^-18, of values in units of 2^(top - 50)."""


class Access(enum.Enum, shape=2):
    """What happens to a segment of value sums."""

    DOTS = 0
    RESULTS = 1
    READ = 2


def value_segment(config: Config, queries: int) -> data.StructLayout:
    """Sums of one query that share an offset term, ``blocks`` row blocks from ``block`` on.

    What comes first is a shift by ``moved`` places, those of 63 and more being 63; sums that are ``fresh``
    count as zero. Then dot products or results of the array are added, of values whose steps and offsets
    have exponent fields of at most ``top``.
    """
    blocks = config.kv.channels // config.rows
    return data.StructLayout(
        {
            "access": Access,
            "query": range(queries),
            "block": range(blocks),
            "blocks": bits_for(blocks),
            "moved": MOVED_BITS,
            "fresh": 1,
            "top": TOP_BITS,
        }
    )


def value_dots(config: Config) -> data.StructLayout:
    """Dot products of a row block, each plus ``bias``, and the exponent field of their activations."""
    return data.StructLayout(
        {
            "dots": data.ArrayLayout(config.product_bits, config.rows),
            "bias": config.product_bits,
            "exponent": 8,
        }
    )


value_sum = data.StructLayout({"sum": signed(SUM_BITS), "last": 1})
"""A value sum in units of 2^(top - 38); ``last`` closes its segment."""
