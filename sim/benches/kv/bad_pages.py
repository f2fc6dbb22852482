"""Pages as a reader is sent them, intact ones and ones with every fault, and what it is to make of them."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv.pages import PageLayout
from golden.numbers import trits
from hw.config import Config
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Axis, Side
from sim.benches.kv.pages import form_fields, random_elements, words_of
from sim.spacing import every_pair

__all__ = ["FAULTS", "SentPage", "bad_page", "impossible_forms", "intact_page", "pages_of_every_fault"]

FAULTS = ("error_format", "error_short", "error_long", "error_trits")
"""What ``bad_page`` knows, each by the error output that it raises."""

_ILLEGAL_BYTES = [byte for byte in range(256) if not trits.is_legal(byte)]
_RESERVED = (6, 7)


class SentPage(NamedTuple):
    """A page on its way to a reader.

    Attributes:
        layout: what it is.
        form: payload ``page_format`` that comes with it.
        words: what is sent.
        kept: bytes that the reader is to make of it, None of a page that is left out.
        fault: one of ``FAULTS``, None for an intact page.
        unknown: places of codes, in the order of the page, that may be anything.
    """

    layout: PageLayout
    form: dict[str, Any]
    words: list[int]
    kept: NDArray[np.uint8] | None
    fault: str | None = None
    unknown: Sequence[int] = ()

    def unknown_bits(self, each: int, width: int) -> list[list[int]]:
        """For every beat of ``each`` codes, all of ``width`` bits where one is unknown and 0 elsewhere."""
        result = np.zeros(self.layout.elements, int)
        result[list(self.unknown)] = (1 << width) - 1
        return result.reshape(-1, each).tolist()

    def word_beats(self) -> list[dict[str, Any]]:
        """The words as payloads ``word``."""
        last = len(self.words) - 1
        return [{"data": data, "last": number == last} for number, data in enumerate(self.words)]


def intact_page(layout: PageLayout, width: int, kind: str = "normal") -> SentPage:
    """A page of elements of a kind."""
    page = layout.pack(layout.format.quantize(random_elements(layout, kind)))
    return SentPage(layout, form_fields(layout), words_of(page, width), page)


def impossible_forms(config: Config, form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Formats that no page can have, each but for one field like the one given."""
    heads, tokens = config.kv.channels // SHORTEST_GROUP, config.kv.page_tokens
    yield from (form | {"coding": coding} for coding in _RESERVED)
    yield form | {"channels": 0}
    if heads + 1 < 1 << heads.bit_length():
        yield form | {"channels": heads + 1, "axis": Axis.CHANNEL, "group": 0}
    too_long = (group for group in range(4) if SHORTEST_GROUP << group > tokens)
    yield from (form | {"axis": Axis.CHANNEL, "group": group} for group in too_long)
    yield form | {"axis": Axis.TOKEN, "channels": 1, "group": 1}
    if config.memory_bits > SHORTEST_GROUP * HALF_BITS:  # a scale of every channel, less than a word
        yield form | {"axis": Axis.CHANNEL, "channels": 1, "group": tokens.bit_length() - 5}
    if config.rows > SHORTEST_GROUP:
        yield form | {"side": Side.VALUE, "channels": 1, "group": 0}


def bad_page(config: Config, layout: PageLayout, fault: str, variant: int = 0) -> SentPage:
    """A page with a fault; ``variant`` numbers the ways in which it can be wrong.

    ``error_trits`` asks for a layout of trits.
    """
    width = config.memory_bits
    page = intact_page(layout, width)._replace(fault=fault)
    if fault == "error_short":
        kept = (1, len(page.words) - 1, random.randint(1, len(page.words) - 1))[variant % 3]
        rest = page.kept.copy()
        rest[kept * width // 8 :] = 0
        return page._replace(words=page.words[:kept], kept=rest)
    if fault == "error_long":
        more = [random.getrandbits(width) for _ in range((1, 2, 7)[variant % 3])]
        return page._replace(words=page.words + more)
    if fault == "error_format":
        forms = list(impossible_forms(config, page.form))
        count = (1, len(page.words))[variant // len(forms) % 2]
        return page._replace(form=forms[variant % len(forms)], words=page.words[:count], kept=None)
    place = random.randrange(layout.metadata_bytes, len(page.kept))
    damaged = page.kept.copy()
    damaged[place] = _ILLEGAL_BYTES[variant % len(_ILLEGAL_BYTES)]
    first = trits.TRITS * (place - layout.metadata_bytes)
    unknown = range(first, min(first + trits.TRITS, layout.elements))
    return page._replace(words=words_of(damaged, width), unknown=unknown)


def pages_of_every_fault(
    config: Config, layout_of: Callable[[str | None], PageLayout], variant: int = 0
) -> Iterator[SentPage]:
    """Pages in which every fault and an intact page follow each other in every order; the last one is intact.

    Args:
        config: the reader's.
        layout_of: a layout of a rule, or of any.
        variant: where to begin with the ways in which a page can be wrong.
    """
    variants = {fault: itertools.count(variant) for fault in FAULTS}
    for fault in every_pair((None, *FAULTS)):
        layout = layout_of("ternary_scaled" if fault == "error_trits" else None)
        if fault is None:
            yield intact_page(layout, config.memory_bits)
        else:
            yield bad_page(config, layout, fault, next(variants[fault]))
