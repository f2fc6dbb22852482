"""What lies where in the memory of scores: two pages' scores, their groups' maxima, the state of each query.

A word has 32 bits. Scores are at (bank, query, token); behind them every query has a few words more:

====================  =======================================================
word                  content
====================  =======================================================
0, 1                  sum of weights, low and high bits
2                     maximum
``banks * groups``..  maxima of the groups of tokens of each bank, rounded up
====================  =======================================================
"""

from amaranth.hdl import Cat, Const, Value
from amaranth.lib import data
from amaranth.utils import exact_log2

from hw.attention.payloads import SCORE_BITS
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP

__all__ = [
    "BANKS",
    "MAXIMUM",
    "TOTAL_HIGH",
    "TOTAL_LOW",
    "depth",
    "groups",
    "maximum_place",
    "memory_word",
    "score_place",
    "state_place",
]

BANKS = 2
"""One page's scores come while those of the page before become weights."""

TOTAL_LOW, TOTAL_HIGH, MAXIMUM = range(3)


def groups(config: Config) -> int:
    """Most groups of tokens of a page."""
    return config.kv.page_tokens // SHORTEST_GROUP


def depth(config: Config) -> int:
    """Words."""
    return config.kv.queries * BANKS * (config.kv.page_tokens + 2 * groups(config))


def memory_word(config: Config) -> data.StructLayout:
    """What is written; ``present``: there is something."""
    return data.StructLayout({"present": 1, "address": range(depth(config)), "data": SCORE_BITS})


def score_place(bank: Value, query: Value, token: Value) -> Value:
    """Address of a score."""
    return Cat(token, query, bank, Const(0, 1))


def state_place(config: Config, query: Value, word: Value) -> Value:
    """Address of a query's word."""
    words = exact_log2(2 * BANKS * groups(config))
    unused = exact_log2(BANKS * config.kv.page_tokens) - words
    return Cat(word, Const(0, words - len(word)), query, Const(0, unused), Const(1, 1))


def maximum_place(config: Config, bank: Value, query: Value, group: Value) -> Value:
    """Address of the maximum of a group of tokens."""
    return state_place(config, query, Cat(group, bank, Const(1, 1)))
