"""Windows in one memory: tokens appended and pages closed in any order, of several sequences and heads.

The design is a token writer and a page closer side by side. The bench has the memory and a table with the
``top`` of every head and side, as a core would; golden works on a memory and a table of its own. They must be
the same in the end, byte for byte, wherever both began with the same random ones.
"""

import itertools
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.kv import window
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config
from hw.kv.payloads import element_beat, page_record, token_record, window_write, word, written_word
from sim import context
from sim.benches.kv.pages import KINDS, form_fields, random_layout, words_of
from sim.benches.kv.windows import GROUP, Place, random_window, sent_token, store, token_elements
from sim.streams import Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
TOKENS: int = context.parameters()["tokens"]
WIDTH, LANES, PAGE = config.memory_bits, config.kv.lanes, config.kv.page_tokens
OWNERS = list(itertools.product(range(2), range(2), range(2), SIDES))[: context.parameters()["owners"]]
"""Sequence, layer, head, side."""


@dataclass
class Owner:
    """What a page table says of a head and side of a layer of a sequence.

    Attributes:
        ring: its two windows, which take turns.
        closed: layout of its pages.
        pages: where its pages lie, one after the other.
        top, wanted_top: as the design keeps it, and as golden does.
        appended, left: tokens so far, and pages that left the window.
        busy: the design works on it.
    """

    ring: tuple[Place, Place]
    closed: PageLayout
    pages: int
    top: int = 1
    wanted_top: int = 1
    appended: int = 0
    left: int = 0
    busy: bool = False

    @property
    def waiting(self) -> int:
        """Tokens in the window."""
        return self.appended - self.left * PAGE

    def page(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The next page to be written, up to the end of its last word."""
        size = -(-self.closed.bytes * 8 // WIDTH) * WIDTH // 8
        return memory[self.pages + self.left * size :][:size]


def owners() -> tuple[list[Owner], int]:
    """All of them, with formats and lengths of their own, and how large their memory is."""
    word_bytes = WIDTH // 8
    end = 0

    def place(size: int) -> int:
        nonlocal end
        start = end
        end += -(-size // word_bytes) * word_bytes
        return start

    found = []
    for *_, side in OWNERS:
        closed = random_layout(config, place=(side, random.choice(("token", "channel"))))
        while closed.channels % GROUP:
            closed = random_layout(config, place=(side, random.choice(("token", "channel"))))
        layout = random_window(config, side, closed.channels)
        ring = tuple(Place(layout, place(layout.bytes), place(window.copy_bytes(layout))) for _ in range(2))
        pages = place(0)
        for _ in range(TOKENS // PAGE):
            place(closed.bytes)
        found.append(Owner(ring, closed, pages))
    return found, end


class Bench:
    """The memory, and the table of owners."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.owners, size = owners()
        self.memory = np.frombuffer(random.randbytes(size), np.uint8).copy()
        self.wanted = self.memory.copy()
        self.tokens = StreamSource(domain, "tokens", token_record(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.formats = StreamSource(domain, "formats", page_record(config), where.source)
        self.copies = StreamSource(domain, "copies", word(WIDTH), where.source)
        sink = where.sink, where.sink_waits
        self.writes = StreamSink(domain, "writes", window_write(config), *sink, self._written)
        self.words = StreamSink(domain, "words", written_word(WIDTH), *sink, self._closed)
        self._appending: deque[tuple[Owner, Place]] = deque()
        self._closing: deque[Owner] = deque()
        self._word = 0

    def append(self, owner: Owner) -> None:
        """The next token of an owner."""
        number, place = divmod(owner.appended, PAGE)
        pages = owner.ring[number % 2]
        x = token_elements(pages.layout, random.choice(tuple(KINDS)))
        views = pages.views(self.wanted)
        owner.wanted_top = window.append(*views, pages.layout, place, x, owner.wanted_top)
        token = sent_token(pages.layout, place, x, LANES, owner.top)
        self.tokens.send(token.record)
        self.elements.send_all(token.beats)
        owner.appended, owner.busy = owner.appended + 1, True
        self._appending.append((owner, pages))

    def close(self, owner: Owner) -> None:
        """The oldest tokens of an owner: the design gets the words that lie in its own memory."""
        place = owner.ring[owner.left % 2]
        page, owner.wanted_top = window.close(place.views(self.wanted)[1], owner.closed, owner.wanted_top)
        owner.page(self.wanted)[:] = 0
        owner.page(self.wanted)[: page.size] = page
        self.formats.send({"form": form_fields(owner.closed), "top": owner.top})
        *others, last = words_of(place.views(self.memory)[1], WIDTH)
        self.copies.send_all({"data": data, "last": False} for data in others)
        self.copies.send({"data": last, "last": True})
        owner.busy = True
        self._closing.append(owner)

    def _written(self, bits: int) -> None:
        owner, place = self._appending[0]
        write = self.writes.codec.unpack(bits)
        store(self.memory, place, write, WIDTH)
        if write["last"]:
            owner.top, owner.busy = write["top"], False
            self._appending.popleft()

    def _closed(self, bits: int) -> None:
        owner = self._closing[0]
        written = self.words.codec.unpack(bits)
        size = WIDTH // 8
        data = np.frombuffer(written["data"].to_bytes(size, "little"), np.uint8)
        owner.page(self.memory)[self._word * size :][:size] = data
        self._word += 1
        if written["last"]:
            owner.top, owner.busy = written["top"], False
            owner.left += 1
            self._word = 0
            self._closing.popleft()

    async def step(self) -> bool:
        """Begin something with an owner that is not busy; false when all is done."""
        free = [owner for owner in self.owners if not owner.busy]
        able = [owner for owner in free if owner.appended < TOKENS or owner.waiting >= PAGE]
        if not able:
            await self.domain.cycles(1)
            return len(free) < len(self.owners)
        owner = random.choice(able)
        full = owner.waiting == 2 * PAGE or owner.appended == TOKENS
        if owner.waiting >= PAGE and (full or random.random() < 0.1):
            self.close(owner)
        else:
            self.append(owner)
        return True


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def any_order(dut: Any, stalls: str) -> None:
    bench = Bench(await reset(dut, cycle_limit=20_000_000), stalls)
    while await bench.step():
        pass
    await bench.domain.cycles(60)
    assert [owner.top for owner in bench.owners] == [owner.wanted_top for owner in bench.owners]
    assert {owner.left for owner in bench.owners} == {TOKENS // PAGE}
    np.testing.assert_array_equal(bench.memory, bench.wanted)
