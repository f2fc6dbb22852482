"""Stream payloads of the attention engine."""

from amaranth.hdl import signed
from amaranth.lib import data

from hw.config import Config
from hw.kv.payloads import HALF_BITS, Side

__all__ = [
    "CENTRE_BITS",
    "TERM_BITS",
    "TOP_BITS",
    "folded_beat",
    "folding_beat",
    "offset_term",
    "tf32",
]

CENTRE_BITS = 3
TOP_BITS = 5
TERM_BITS = 52

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
