"""Stream payloads of the circuits that choose tokens."""

from amaranth.lib import data, enum
from amaranth.utils import bits_for

from hw.config import Config

__all__ = [
    "MOST_TOKENS",
    "SCORE_BITS",
    "SHARE_BITS",
    "Measure",
    "found_tokens",
    "importance_page",
    "importance_sum",
    "score_lanes",
    "score_pass",
    "score_words",
    "selected_tokens",
    "selection_request",
]

MOST_TOKENS = 65536
"""Tokens among which is chosen, at most."""
SCORE_BITS = 32
SHARE_BITS = 16
"""Fraction bits of a share of the scores' sum."""


class Measure(enum.Enum, shape=1):
    """What says how many tokens are chosen."""

    COUNT = 0
    SHARE = 1


def score_lanes(config: Config) -> int:
    """Scores in a word of memory, which is what is taken in a cycle."""
    return config.memory_bits // SCORE_BITS


selection_request = data.StructLayout(
    {
        "tokens": bits_for(MOST_TOKENS),
        "measure": Measure,
        "amount": bits_for(MOST_TOKENS),
        "lowest": 1,
    }
)
"""Which of ``tokens`` tokens are wanted: those with the largest scores, or with ``lowest`` the smallest ones.

``COUNT``: ``amount`` of them, all where there are fewer. ``SHARE``: as few as reach ``amount`` / 2^16 of the
sum of all scores.
"""

score_pass = data.StructLayout({"chooses": 1})
"""All scores are wanted once; ``chooses``: for the last time, the chosen tokens leave meanwhile."""


def score_words(config: Config) -> data.ArrayLayout:
    """Scores of consecutive tokens, unsigned; those behind the last token may be anything."""
    return data.ArrayLayout(SCORE_BITS, score_lanes(config))


def selected_tokens(config: Config) -> data.StructLayout:
    """A bit for each of consecutive tokens, 0 behind the last one; ``last`` closes a request's."""
    return data.StructLayout({"chosen": score_lanes(config), "last": 1})


found_tokens = data.StructLayout({"count": bits_for(MOST_TOKENS), "first": range(MOST_TOKENS), "error": 1})
"""How many tokens were chosen, and the index of the first one, 0 if there is none.

``error``: the request was no legal one, nothing was read and no bitmap leaves.
"""


def importance_page(config: Config) -> data.StructLayout:
    """A page whose sums change, by the scores of queries 0 to ``last_query``.

    ``opens``: the first page of these queries, their states come ahead of its scores; ``fresh``: all sums
    were 0, none come; ``live``: a bit for each token that is there, the sums of others become 0.
    """
    return data.StructLayout(
        {
            "last_query": range(config.kv.queries),
            "opens": 1,
            "fresh": 1,
            "live": config.kv.page_tokens,
        }
    )


importance_sum = data.StructLayout({"sum": SCORE_BITS, "last": 1})
"""A sum in units of 2^-20; ``last`` closes a page's."""
