"""What the decode core keeps in memory beside weights: a sequence's state, and the table of each KV head.

All of it is little-endian words of 32 bits in lines of 64 bytes. Addresses are lines of the core's window.

**Sequence**, one line (``SEQUENCE``). Its tokens are an array of words: the prompt's, then those that the
core has found. ``BEGIN`` reads the line and the token at its position; ``ADVANCE`` writes the next token
where the prompt has none, then ``position``, and ``stopped`` where it became 1.

**KV head**, of one layer: a header of one line (``HEAD``), then a record of 16 bytes for each page
(``RECORD``), in the order of attention, then wherever the header says the window.

With ``n`` = position + 1 tokens, the first ``closed`` = max(0, (n - residual) // P) blocks of P tokens are
pages; the tokens behind them lie in the window: block b in slot ``b % slots``, whose lines begin at
``window + (b % slots) * pitch`` with the coded page of the keys; ``coded_values``, ``key_copy`` and
``value_copy`` lines behind that are that of the values and the two float16 copies (``golden.kv.window``).
Slots are a power of two, at least ``1 + residual / P``: a page may be closed after the token with which it is
due was appended.

``CLOSE`` is due where ``(n - residual) % P == 0`` and closed > 0, with n = position + 1 + ``ahead``; it makes
page ``closed - 1`` of the copies, whose tokens must have been appended: ``ahead`` below ``residual``, or
equal to it once the present token is there. The header's ``top`` counts a page from then on, before
attention reads it.
"""

import numpy as np
from numpy.typing import NDArray

from golden.core.commands import Field

__all__ = ["HEAD", "RECORD", "RECORD_BYTES", "SEQUENCE", "closed", "field_values", "format_bits"]

RECORD_BYTES = 16

SEQUENCE = (
    Field("position", 0, 0, 32, "Tokens before the present one."),
    Field("prompt", 1, 0, 32, "Tokens that are given, at least 1."),
    Field("tokens", 2, 0, 32, "Line of token 0."),
    Field("limit", 3, 0, 32, "Tokens that there is room for; ADVANCE to it is refused with FULL."),
    Field("stop_0", 4, 0, 32, "A token that ends the text; all ones for none."),
    Field("stop_1", 5, 0, 32, "Another one."),
    Field("stopped", 6, 0, 32, "1 when one of them was found, or there is no more room."),
    Field("model_low", 8, 0, 32, "The model's identity, as registers MODEL_LOW and MODEL_HIGH must have it."),
    Field("model_high", 9, 0, 32, "Its upper half."),
)

HEAD = (
    Field("window", 0, 0, 32, "Line of the window."),
    Field("pitch", 1, 0, 16, "Lines of a slot."),
    Field("slots", 1, 16, 8, "Slots, a power of two."),
    Field("channels", 1, 24, 8, "Elements of a head, in 16ths."),
    Field("residual", 2, 0, 16, "Tokens that stay in the window."),
    Field("coded_values", 3, 0, 16, "Lines from a slot's beginning to its coded values."),
    Field("key_copy", 3, 16, 16, "Lines to the copy of its keys."),
    Field("value_copy", 4, 0, 16, "Lines to that of its values."),
    Field("pages", 5, 0, 32, "Records."),
    Field("key_top", 6, 0, 8, "Largest exponent field of any step and offset of keys so far, 1..31."),
    Field("value_top", 7, 0, 8, "Likewise of values; both are written by APPEND and CLOSE."),
)

RECORD = (
    Field("keys", 0, 0, 32, "Line of the page of keys."),
    Field("values", 1, 0, 32, "Line of the page of values."),
    Field("key_format", 2, 0, 16, "Its format, see ``format_bits``."),
    Field("value_format", 2, 16, 16, "Likewise."),
    Field("first", 3, 0, 8, "First valid token."),
    Field("last", 3, 8, 8, "Last valid token."),
)


def closed(position: int, residual: int, page_tokens: int) -> int:
    """Blocks that are pages when the token at ``position`` attends."""
    return max(0, (position + 1 - residual) // page_tokens)


def format_bits(coding: int, magnitude: bool, channel: bool, group: int, gamma: int) -> int:
    """A page's format in a record.

    Args:
        coding: place in ``golden.kv.codings.CODINGS``, bits 2:0.
        magnitude: bit 3, as of the circuits' page format.
        channel: bit 4, groups of tokens of a channel instead of channels of a token.
        group: bits 6:5, a group has ``16 << group`` elements.
        gamma: bits 15:8, threshold of trits in 256ths of their mean magnitude.
    """
    return coding | magnitude << 3 | channel << 4 | group << 5 | gamma << 8


def field_values(words: NDArray[np.uint32], fields: tuple[Field, ...]) -> dict[str, int]:
    """Values of the fields of some words."""
    items = words.tolist()
    return {field.name: (items[field.word] & field.mask) >> field.low for field in fields}


def encoded(values: dict[str, int], fields: tuple[Field, ...], length: int) -> bytes:
    """``length`` bytes of words with these fields."""
    words = np.zeros(length // 4, "<u4")
    for each in fields:
        words[each.word] |= np.uint32(values[each.name] << each.low)
    return words.tobytes()
