"""What a page of keys or values asks of the parts of kvloom's attention engine, for each turn of queries."""

from dataclasses import dataclass
from math import ceil

from golden.kv.codings import CODINGS
from golden.kv.pages import PageLayout
from hw.attention.code_memory import dense_bits
from hw.attention.number_memory import per_word
from hw.config import Config
from hw.kv.payloads import Coding
from hw.pe import array

__all__ = ["PageWork", "page_work"]


@dataclass(frozen=True)
class PageWork:
    """One side of a page as the engine works on it, for each turn of queries, one in each column.

    Attributes:
        numbers, codes: words of memory.
        granules: of the codes in their memory.
        parts: products of a turn.
        beats: of a vector into folding, of each part.
        cycles: of a product in the array.
        group: of its first group.
        apart: that groups must at least be apart which are not steady.
        shifting: cycles of a product of values before which a maximum has moved.
    """

    numbers: int
    codes: int
    granules: int
    parts: int
    beats: tuple[int, ...]
    cycles: int
    group: int
    apart: int
    shifting: int


def _is_folded(layout: PageLayout) -> bool:
    """Whether steps belong to inputs of the product."""
    return (layout.format.axis == "channel") == (layout.side == "key")


def page_work(config: Config, layout: PageLayout) -> PageWork:
    """The work of a page; ``rows`` and ``lanes`` of the layout must be those of the tile."""
    form, width = layout.format, config.memory_bits
    outputs, inputs = layout.tokens, layout.channels
    if layout.side == "value":
        outputs, inputs = inputs, outputs
    folded = _is_folded(layout)
    length = form.group or (layout.channels if form.axis == "token" else layout.tokens)
    parts = outputs // length if folded else 1
    group = config.group if folded else length
    groups = [min(group, inputs - first) // config.lanes for first in range(0, inputs, group)]
    terms, dots = form.dtype.term_count, folded and layout.side == "value"
    apart = max(array.group_cycles(config, 0, terms), config.turns(not folded))
    width_of_sums = max(config.rows // 2, config.rescale_units)
    steady = config.rows // width_of_sums
    pace = steady if dots else apart
    coding = Coding(CODINGS.index(form.coding))
    size = config.rows * config.lanes
    return PageWork(
        numbers=layout.metadata_bytes * 8 // width,
        codes=ceil(form.coding.length(layout.elements) * 8 / width),
        granules=layout.elements * dense_bits(coding) // size,
        parts=parts,
        beats=tuple(_beats(config, layout, part, inputs) for part in range(parts)),
        group=max(groups[0] * terms, pace),
        apart=apart,
        shifting=outputs // parts // (width_of_sums if dots else config.rescale_units) * (width_of_sums + 1),
        cycles=outputs // parts // config.rows * sum(max(chunks * terms, pace) for chunks in groups),
    )


def _beats(config: Config, layout: PageLayout, part: int, inputs: int) -> int:
    """Cycles of a vector: a beat for each word that its numbers lie in."""
    lanes = config.activation_lanes
    if not _is_folded(layout):
        return inputs // lanes
    start, stride = part * layout.channels, 1
    if layout.side == "value":
        start, stride = part, layout.groups // layout.tokens
    places = [(start + stride * number) // per_word(config) for number in range(inputs)]
    return sum(len(set(places[first : first + lanes])) for first in range(0, inputs, lanes))
