"""Windows of many heads and sides in one memory: what a token writer is sent, and what golden makes of it."""

import random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv import window
from golden.kv.pages import SIDES, PageLayout
from golden.kv.schemes import WINDOW
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, Side, WindowPage
from sim.benches.kv.pages import elements_of, random_elements

__all__ = ["GROUP", "Place", "SentToken", "random_window", "sent_token", "store", "token_elements"]

GROUP = WINDOW.group or SHORTEST_GROUP


class Place(NamedTuple):
    """Two pages of a memory image.

    Attributes:
        layout: of the coded one.
        coded, copy: where they begin.
    """

    layout: PageLayout
    coded: int
    copy: int

    def views(self, memory: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both pages of an image."""
        coded = memory[self.coded :][: self.layout.bytes]
        return coded, memory[self.copy :][: window.copy_bytes(self.layout)]


class SentToken(NamedTuple):
    """A token on its way to a writer.

    Attributes:
        record: payload ``token_record``.
        beats: payloads ``element_beat``.
        kept: finite elements [D] that are written, None of a token that is left out.
        counts: errors by name that it raises.
    """

    record: dict[str, Any]
    beats: list[dict[str, Any]]
    kept: NDArray[np.float16] | None
    counts: dict[str, int]


def random_window(config: Config, side: str | None = None, channels: int | None = None) -> PageLayout:
    """Layout of the coded page of a head and side."""
    channels = channels or GROUP * random.randint(1, config.kv.channels // GROUP)
    side = side or random.choice(SIDES)
    return PageLayout(WINDOW, side, config.kv.page_tokens, channels, config.rows, config.lanes)


def token_elements(layout: PageLayout, kind: str) -> NDArray[np.float16]:
    """Elements [D] of a kind."""
    return random_elements(layout, kind)[random.randrange(layout.tokens)]


def sent_token(layout: PageLayout, place: int, x: NDArray[np.float16], lanes: int, top: int = 1) -> SentToken:
    """An intact token; numbers that are not finite are clamped to the largest ones."""
    special = ~np.isfinite(x)
    kept = np.where(special, np.copysign(np.float16(65504), x), x)
    record = {
        "side": Side[layout.side.upper()],
        "channels": layout.channels // SHORTEST_GROUP,
        "place": place,
        "top": top,
    }
    clamped = special.reshape(-1, lanes).any(axis=1).sum()
    return SentToken(record, elements_of(x, lanes), kept, {"clamped": int(clamped)})


def store(memory: NDArray[np.uint8], place: Place, write: dict[str, Any], width: int) -> int:
    """Write the enabled bytes of a payload ``window_write``; returns how many.

    Raises:
        AssertionError: a byte lies outside of its page.
    """
    page = place.views(memory)[int(write["page"] == WindowPage.COPY)]
    size = width // 8
    enables = np.frombuffer(write["enables"].to_bytes(size // 8, "little"), np.uint8)
    enabled = np.flatnonzero(np.unpackbits(enables, bitorder="little"))
    places = write["word"] * size + enabled
    assert places.max(initial=0) < page.size, (write["page"], write["word"], write["enables"])
    page[places] = np.frombuffer(write["data"].to_bytes(size, "little"), np.uint8)[enabled]
    return len(places)
