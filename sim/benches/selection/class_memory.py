"""A memory with the pages, page tables and waiting tokens of one head, as a mover reads and writes them."""

import random
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv import window
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.selection.classes import LEFT, Classes, Pool
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP
from hw.selection.moving.payloads import Source
from sim.benches.kv.pages import FORMATS, fitting_groups, words_of

__all__ = ["ClassMemory", "Row", "random_layouts", "random_pools"]


class Row(NamedTuple):
    """A row of a page table: the page's number, which tokens are there, the entries of all places."""

    number: int
    live: int
    entries: list[dict[str, int]]


class _Class:
    """What is in memory of a class.

    Attributes:
        copies: uint8 ``[2 halves, 2 sides, bytes]``, waiting tokens.
        entries: of their places, both halves.
        place: where the next one waits.
    """

    def __init__(self, pool: Pool) -> None:
        size = window.copy_bytes(pool.layouts[0])
        tokens = pool.layouts[0].tokens
        self.layouts = pool.layouts
        self.pages: dict[int, list[NDArray[np.uint8]]] = {}
        self.table: list[Row] = []
        self.free = deque(pool.free)
        self.copies = np.zeros((2, len(SIDES), size), np.uint8)
        self.entries: list[dict[str, int]] = [{"index": 0, "sum": 0}] * (2 * tokens)
        self.place = 0


class ClassMemory:
    """The memory of one head, beside the golden classes that it is to equal.

    Attributes:
        golden: the classes.
        sums: what goes along with each token, by index.
    """

    def __init__(self, golden: Classes, pools: list[Pool], width: int) -> None:
        self.golden, self.width, self._pools = golden, width, pools
        self.tokens = golden.page_tokens
        self.classes = [_Class(pool) for pool in pools]
        self.sums: list[int] = []

    def append(self, keys: NDArray, values: NDArray, classes: NDArray, fresh: bool = False) -> None:
        """Tokens that others have written, with sums of 0 (``fresh``) or any."""
        self.golden.append(keys, values, classes)
        self.sums += [0 if fresh else random.getrandbits(32) for _ in range(len(keys))]
        self.refresh()

    def refresh(self) -> None:
        """Make the memory what golden says, and the entries what the sums say."""
        for number, (own, pool) in enumerate(zip(self.classes, self._pools, strict=True)):
            own.free = deque(pool.free)
            own.table = [
                Row(page.number, _bits(page.tokens != LEFT), [self.entry(token) for token in page.tokens])
                for page in self.golden.table(number)
            ]
            own.pages = {row.number: self._split(pool, row.number) for row in own.table}
            waiting, half = self.golden.waiting(number), random.getrandbits(1)
            own.place = half * self.tokens + len(waiting.index)
            for side, x in enumerate(waiting[1:]):
                written = np.ascontiguousarray(x, "<f2").view(np.uint8).ravel()
                own.copies[half, side, : written.size] = written
            for place, token in enumerate(waiting.index):
                own.entries[half * self.tokens + place] = self.entry(token)

    def entry(self, token: int) -> dict[str, int]:
        """Entry of a token; of a hole, anything."""
        return {"index": int(token) & 0xFFFF, "sum": self.sums[token]}

    def _split(self, pool: Pool, number: int) -> list[NDArray[np.uint8]]:
        return np.split(pool.memory[number].copy(), [pool.layouts[0].bytes])

    def rows(self, number: int, waits: bool) -> list[dict[str, Any]]:
        """Payloads ``class_row`` of a page table."""
        own = self.classes[number]
        rows = [{"page": row.number, "live": row.live, "waits": False} for row in own.table]
        if waits:
            live = (1 << own.place % self.tokens) - 1
            rows.append({"page": random.getrandbits(32), "live": live, "waits": True})
        return [row | {"last": place == len(rows) - 1} for place, row in enumerate(rows)]

    def live_entries(self, number: int, waits: bool) -> list[dict[str, int]]:
        """Entries of all tokens of a class, in the order of attention."""
        own = self.classes[number]
        found = [
            entry for row in own.table for place, entry in enumerate(row.entries) if row.live >> place & 1
        ]
        half, count = divmod(own.place, self.tokens)
        return found + own.entries[half * self.tokens :][: count * waits]

    def words(self, read: dict[str, Any], source: int, target: int) -> list[int]:
        """Words that a payload ``copy_read`` asks for."""
        side = read["side"].value
        if read["source"] is Source.PAGE:
            return words_of(self.classes[source].pages[read["page"]][side], self.width)
        own = self.classes[source if read["source"] is Source.OWN_COPY else target]
        size = own.copies.shape[-1] // self.tokens * (read["tokens"] + 1)
        return words_of(own.copies[int(read["half"]), side, :size], self.width)

    def store(self, write: dict[str, Any], source: int, target: int) -> None:
        """Write the enabled bytes of a payload ``copy_write``."""
        own, size = self.classes[source if write["own"] else target], self.width // 8
        half, place = divmod(write["place"], self.tokens)
        start = place * (own.copies.shape[-1] // self.tokens) + write["word"] * size
        data = np.frombuffer(write["data"].to_bytes(size, "little"), np.uint8)
        enabled = np.flatnonzero([write["enables"] >> byte & 1 for byte in range(size)])
        own.copies[half, write["side"].value, start + enabled] = data[enabled]

    def keep(self, number: int, kept: dict[str, Any]) -> None:
        """Change a row as a payload ``kept_row`` says; waiting tokens move up."""
        own = self.classes[number]
        if kept["waits"]:
            half, count = divmod(own.place, self.tokens)
            first = half * self.tokens
            left = [own.entries[first + place] for place in range(count) if kept["live"] >> place & 1]
            own.entries[first : first + len(left)] = left
            own.place = first + len(left)
            return
        place = next(place for place, row in enumerate(own.table) if row.number == kept["page"])
        own.table[place] = own.table[place]._replace(live=kept["live"])
        if kept["freed"]:
            own.free.append(kept["page"])
            del own.pages[kept["page"]], own.table[place]

    def close(self, number: int, page: int, half: int, words: list[list[int]]) -> None:
        """A page of a class that was written, from the copy of ``half``."""
        own, size = self.classes[number], self.width // 8
        assert own.free.popleft() == page
        sides = []
        for layout, side in zip(own.layouts, words, strict=True):
            found = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in side), np.uint8)
            assert len(found) == -(-layout.bytes // size) * size
            sides.append(found[: layout.bytes])
        own.pages[page] = sides
        entries = own.entries[half * self.tokens :][: self.tokens]
        own.table.append(Row(page, (1 << self.tokens) - 1, entries))

    def check(self) -> None:
        """All that golden says is in the memory, and no more.

        Raises:
            AssertionError: something differs.
        """
        for number, (own, pool) in enumerate(zip(self.classes, self._pools, strict=True)):
            assert list(own.free) == list(pool.free)
            table = self.golden.table(number)
            assert [row.number for row in own.table] == [page.number for page in table]
            for row, page in zip(own.table, table, strict=True):
                assert row.live == _bits(page.tokens != LEFT)
                for place in np.flatnonzero(page.tokens != LEFT).tolist():
                    assert row.entries[place] == self.entry(page.tokens[place])
                for found, wanted in zip(own.pages[row.number], self._split(pool, row.number), strict=True):
                    np.testing.assert_array_equal(found, wanted)
            assert set(own.pages) == {row.number for row in own.table}
            waiting = self.golden.waiting(number)
            half, count = divmod(own.place, self.tokens)
            assert count == len(waiting.index)
            found = own.entries[half * self.tokens :][:count]
            assert found == [self.entry(token) for token in waiting.index]
            for side, x in enumerate(waiting[1:]):
                written = np.ascontiguousarray(x, "<f2").view(np.uint8).ravel()
                np.testing.assert_array_equal(own.copies[half, side, : written.size], written)


def _bits(flags: NDArray[np.bool_]) -> int:
    return sum(1 << place for place in np.flatnonzero(flags).tolist())


def random_layouts(
    config: Config, channels: int, rules: tuple[tuple[str, int], ...]
) -> tuple[PageLayout, PageLayout]:
    """Keys and values of a class: rules and bits of both, any axis and groups."""
    layouts = []
    for side, (rule, bits) in zip(SIDES, rules, strict=True):
        axis = random.choice(("token", "channel"))
        group = random.choice(fitting_groups(config, axis, channels))
        form = Format(rule, bits, axis, group)
        layouts.append(PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes))
    return layouts[0], layouts[1]


def random_pools(config: Config, pages: int, count: int = 2, channels: int | None = None) -> list[Pool]:
    """Pools of classes with any formats, each with so many pages of any numbers."""
    unit = max(SHORTEST_GROUP, config.lanes, config.rows, config.memory_bits // 16)
    channels = channels or unit * random.randint(1, config.kv.channels // unit)
    result = []
    for _ in range(count):
        rules = tuple(random.choice(FORMATS) for _ in SIDES)
        result.append(Pool(random_layouts(config, channels, rules), random.sample(range(4 * pages), pages)))
    return result
