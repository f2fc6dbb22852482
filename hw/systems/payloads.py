"""Stream payloads of the circuits that one cache system has for itself."""

from amaranth.lib import data, enum
from amaranth.utils import bits_for

from hw.config import Config
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP
from hw.selection.payloads import MOST_TOKENS, score_lanes

__all__ = [
    "SIGNATURE_BITS",
    "Anchor",
    "TransformLength",
    "TransformSide",
    "channel_element",
    "head_channels",
    "ranges_request",
    "representatives_found",
    "signature_pass",
    "signature_request",
    "signature_words",
    "transform_column",
    "transform_request",
]

SIGNATURE_BITS = 32
"""Bits of a signature, at most: a word of memory holds as many signatures as scores."""


class Anchor(enum.Enum, shape=3):
    """The point that distances are taken from; numbers beyond these are as ``GIVEN``."""

    RANDOM = 0
    """That of seed 0; one of another seed is given."""
    ZEROS = 1
    ONES = 2
    MEAN = 3
    ALTERNATING = 4
    GIVEN = 5


signature_request = data.StructLayout(
    {
        "tokens": bits_for(MOST_TOKENS),
        "budget": bits_for(MOST_TOKENS),
        "last_bit": range(SIGNATURE_BITS),
        "anchor": Anchor,
        "given": SIGNATURE_BITS,
    }
)
"""How many representatives of the candidates among ``tokens`` tokens, or blocks of them, are wanted.

Bits 0 to ``last_bit`` of signatures count; ``given`` is the anchor where it is to be ``GIVEN``.
"""

signature_pass = data.StructLayout({"chooses": 1})
"""All signatures are wanted once; ``chooses``: for the last time, the chosen tokens leave meanwhile."""


def signature_words(config: Config) -> data.StructLayout:
    """Signatures of consecutive tokens; those behind the last token may be anything.

    ``counted``: tokens that the mean is taken of; ``candidates``: those among which is chosen.
    """
    lanes = score_lanes(config)
    signatures = data.ArrayLayout(SIGNATURE_BITS, lanes)
    return data.StructLayout({"signatures": signatures, "counted": lanes, "candidates": lanes})


representatives_found = data.StructLayout(
    {"candidates": bits_for(MOST_TOKENS), "count": bits_for(MOST_TOKENS), "error": 1}
)
"""How many candidates there were, and how many are chosen: the budget, or none where it is larger.

``error``: the request was no legal one, nothing was read and no bitmap leaves.
"""


class TransformLength(enum.Enum, shape=1):
    """Elements of a vector."""

    CHANNELS32 = 0
    CHANNELS64 = 1


class TransformSide(enum.Enum, shape=1):
    """What a vector holds, and so what its columns are multiplied with."""

    KEY = 0
    """1/n."""
    QUERY = 1
    """2, but for the first two columns."""


transform_request = data.StructLayout({"length": TransformLength, "side": TransformSide})
"""What comes ahead of a vector that is to be transformed."""

channel_element = data.StructLayout({"element": HALF_BITS, "last": 1})
"""A float16 of a channel; ``last`` closes a vector, or so many tokens."""

transform_column = data.StructLayout({"column": HALF_BITS, "last": 1})
"""A float16: F_0, F_(n/2), then real and imaginary part of F_1, F_2, ...; ``last`` closes a vector."""


def head_channels(config: Config) -> int:
    """Width of the channels of a head, in units of 16."""
    return bits_for(config.kv.channels // SHORTEST_GROUP)


def ranges_request(config: Config) -> data.StructLayout:
    """What comes ahead of keys: channels of a head, in units of 16, and how many of them are anomalous."""
    return data.StructLayout({"channels": head_channels(config), "anomalous": bits_for(config.kv.channels)})
