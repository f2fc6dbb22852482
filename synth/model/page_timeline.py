"""Cycles of a page of keys or values in kvloom's page tile, without stalls.

A page's streams end before the next page begins: its metadata is read first, then its
codes, a word a cycle; the last row block still has to pass through the array and the rescaler. Row blocks
have one group each, and the rescaler cannot promise a place early for every second one
(``hw.pe.lookahead``): two of them take longer than their turns. How long was measured with 4 and 8 turns.
"""

from math import ceil

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.pe import array, rescale_unit

__all__ = ["page_cycles"]


def _two_blocks(turns: int) -> int:
    """Least cycles of two row blocks: the straight line through 16 with 4 turns and 25 with 8."""
    return (9 * turns + 28) // 4


def page_cycles(config: Config, layout: PageLayout) -> int:
    """Cycles from one page's first word to that of the next one of the same format, for one query.

    Args:
        config: the page tile; ``rows`` and ``lanes`` of the layout must be its own.
        layout: the page.
    """
    form, width = layout.format, config.memory_bits
    metadata = ceil(8 * layout.metadata_bytes / width)
    terms = form.dtype.term_count
    outputs, inputs = layout.tokens, layout.channels
    if layout.side == "value":
        outputs, inputs = inputs, outputs
    blocks, chunks = outputs // config.rows, inputs // config.lanes
    folded = (form.axis == "channel") == (layout.side == "key")
    turns = config.turns(not folded)

    size = config.rows * config.lanes
    beat = width // size * terms  # cycles in the array of a beat of ``width`` codes
    words = ceil(form.coding.length(layout.elements) * 8 / width)
    beats = ceil(layout.elements / width)
    reading = max(words + beats * (beat - 1), beats * beat)
    first = ceil(reading * chunks * size / layout.elements)
    pace = max(array.group_cycles(config, chunks, terms), turns)
    pair = max(2 * pace, _two_blocks(turns) if folded else 2 * (turns + config.rows + 1))
    pairs, single = divmod(blocks - 1, 2)
    working = first + pairs * pair + single * (pace if folded else pair // 2)
    drain = array.dots_latency(config) + turns + rescale_unit.latency(config) + 1
    return metadata + max(reading, working) + drain
