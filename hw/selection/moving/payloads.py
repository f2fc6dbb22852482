"""Stream payloads of the circuits that move tokens from class to class (``golden.selection.classes``)."""

from amaranth.lib import data, enum

from hw.config import Config
from hw.kv.payloads import HALF_BITS, TOP_BITS, Side, page_format
from hw.selection.payloads import MOST_TOKENS, SCORE_BITS

__all__ = [
    "CLASS_BITS",
    "PACE_BITS",
    "PAGE_BITS",
    "Source",
    "class_row",
    "closed_page",
    "copy_place",
    "copy_read",
    "copy_write",
    "departure",
    "kept_row",
    "map_change",
    "map_word",
    "move_request",
    "move_result",
    "moved_token",
    "token_entry",
]

PAGE_BITS = 32
"""A page's number, as page tables have it."""
CLASS_BITS = 2
PACE_BITS = 8


class Source(enum.Enum, shape=2):
    """What is read: a page of the class that tokens leave, its waiting tokens, those of their new class."""

    PAGE = 0
    OWN_COPY = 1
    TARGET_COPY = 2


def copy_place(config: Config) -> range:
    """Places of waiting tokens: two copies of a page's tokens, one of which fills while the other closes."""
    return range(2 * config.kv.page_tokens)


def move_request(config: Config) -> data.StructLayout:
    """Tokens of a class go to another one, or are dropped (``drops``).

    ``own`` and ``target`` are the formats of keys and of values; ``top`` is that of the head. The next token
    waits at ``place`` of the target; ``own_half`` is the copy in which those of the class itself wait.
    After each word that is read ``pace`` cycles pass.
    """
    formats = data.ArrayLayout(page_format(config), len(Side))
    return data.StructLayout(
        {
            "own": formats,
            "target": formats,
            "top": data.ArrayLayout(TOP_BITS, len(Side)),
            "drops": 1,
            "place": copy_place(config),
            "own_half": 1,
            "pace": PACE_BITS,
        }
    )


def class_row(config: Config) -> data.StructLayout:
    """A row of a page table: the page, and a bit for each token that has not left it.

    ``waits``: no page but the tokens that wait, in the lowest places; ``last`` closes the table.
    """
    return data.StructLayout({"page": PAGE_BITS, "live": config.kv.page_tokens, "waits": 1, "last": 1})


token_entry = data.StructLayout({"index": range(MOST_TOKENS), "sum": SCORE_BITS})
"""What goes along with a token: its index, and its importance or whatever is kept of it there."""


def moved_token(config: Config) -> data.StructLayout:
    """A token that leaves; in its new class it waits at ``place``, unless it is dropped.

    ``last``: no token, all tokens of a move have been told.
    """
    return data.StructLayout({"entry": token_entry, "place": copy_place(config), "last": 1})


def kept_row(config: Config) -> data.StructLayout:
    """What is left of a row; ``freed``: its last token has left in this move, the page is free."""
    return data.StructLayout(
        {"page": PAGE_BITS, "live": config.kv.page_tokens, "waits": 1, "freed": 1, "last": 1}
    )


def departure(config: Config) -> data.StructLayout:
    """Tokens of a page (or that wait) that go to places of the target from ``place`` on."""
    tokens = config.kv.page_tokens
    return data.StructLayout(
        {"page": PAGE_BITS, "waits": 1, "live": tokens, "leaving": tokens, "place": copy_place(config)}
    )


def closed_page(config: Config) -> data.StructLayout:
    """The copy ``half`` of the target is full, and becomes a page."""
    return data.StructLayout({"page": PAGE_BITS, "half": 1})


def copy_read(config: Config) -> data.StructLayout:
    """All words of one side of a page, or of the first ``tokens`` + 1 tokens of a copy, are wanted."""
    tokens = range(config.kv.page_tokens)
    return data.StructLayout({"source": Source, "page": PAGE_BITS, "half": 1, "side": Side, "tokens": tokens})


def copy_write(config: Config) -> data.StructLayout:
    """Bytes of the ``word``-th word of a token at ``place``, in the target's copies or the class' ``own``."""
    width = config.memory_bits
    return data.StructLayout(
        {
            "own": 1,
            "side": Side,
            "place": copy_place(config),
            "word": range(max(config.kv.channels * HALF_BITS // width, 1)),
            "data": width,
            "enables": width // 8,
        }
    )


def move_result(config: Config) -> data.StructLayout:
    """Where the target's next token waits, and ``top``; ``error``: formats that do not fit, nothing moved."""
    return data.StructLayout(
        {"place": copy_place(config), "top": data.ArrayLayout(TOP_BITS, len(Side)), "error": 1}
    )


def map_change() -> data.StructLayout:
    """A token's class changes; ``wide``: the map has 2 bits a token, else 1.

    ``last``: no token, all that has changed is to be written.
    """
    return data.StructLayout({"index": range(MOST_TOKENS), "number": CLASS_BITS, "wide": 1, "last": 1})


def map_word(config: Config) -> data.StructLayout:
    """A word of the map, the ``address``-th one."""
    words = MOST_TOKENS * CLASS_BITS // config.memory_bits
    return data.StructLayout({"address": range(words), "data": config.memory_bits})
