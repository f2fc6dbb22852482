"""Cycles of attention in kvloom's engine, from the rules that its circuits follow.

A list is what some queries of one KV head see: pages of keys and values, each read from memory once. A page
is worked on query by query, in products of a vector with some of its outputs (``hw.attention.engine``):

* queries come to the base-2 domain one element every other cycle, those of the next list meanwhile;
* memory gives a word a cycle while there is room for codes;
* a vector is folded, ``activation_lanes`` elements a cycle, once its page's numbers are there and, for
  values, all weights of the page; it waits for the array, which holds a few of them;
* the array takes a chunk every ``terms`` cycles, and a group when its dot products find room;
* softmax weighs a token a cycle, query by query;
* at the end of a list its value sums are read, in cycles in which none are added to, and divided.

``attention_cycles`` plays them, product by product. What passes between them is measured, and stands in
``OVERHEADS``. A long list is not played to its end: pages of one kind soon take the same cycles.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from golden.kv.pages import PageLayout
from hw.attention import division, query_memory
from hw.attention.code_memory import depth
from hw.config import Config
from synth.model.page_work import PageWork, page_work

__all__ = ["OVERHEADS", "Overheads", "Run", "attention_cycles"]

Run = tuple[PageLayout, PageLayout, int]
"""Keys and values of the same tokens, and how many such pages follow one another."""

_COUNTED = 4
"""The list that counts; another one follows it."""

_PLAYED = 16
"""Pages of a run that are played; the second half of them stands for those that are left out."""


@dataclass(frozen=True)
class Overheads:
    """Cycles from one part of the engine to the next, and what waits between them.

    Attributes:
        page: of memory, from the last word of a page to the first one of the next, beside one.
        code: from a word of codes to the chunks in it.
        numbers: from a page's last number to its first vector.
        fold: from a vector's last beat to its first chunk.
        place: from a product's last chunk to the first beat of the vector that takes its place.
        short: that the array loses between keys and values whose groups are shorter than others may be.
        longer: more of them for each cycle by which groups of keys are longer than that.
        tight: more of them for each query where they are not.
        equal: the same where groups of values are as short as others may be.
        scores: from the last chunk of a query's keys to its first weight.
        weights: from a page's last weight to the first beat of its values.
        read: from a list's last chunk to the first of its sums.
        vectors: under way between their first beat and their last chunk.
        pages: under way between their first word and their last chunk.
        lag: pages by which values come after their keys.
    """

    page: int = 1
    code: int = 4
    numbers: int = 8
    fold: int = 16
    place: int = 0
    short: int = 10
    longer: int = 2
    tight: int = 3
    equal: int = 2
    scores: int = 50
    weights: int = 6
    read: int = 20
    vectors: int = 9
    pages: int = 4
    lag: int = 2


OVERHEADS = Overheads()


class _Timeline:
    """When things happen; the first word is taken in cycle 0."""

    def __init__(self, config: Config, queries: int, overheads: Overheads) -> None:
        self.config, self.queries, self.times = config, queries, overheads
        self.word = self.written = 0  # the next word of memory; granules of codes so far
        self.codes: deque[tuple[int, int, int, int]] = (
            deque()
        )  # a page's granules and its last query's cycles
        self.ends = deque([0] * overheads.pages, overheads.pages)  # of the latest pages
        self.places = deque([0] * overheads.vectors, overheads.vectors)  # of the latest products
        self.queried = 0  # when the queries of the latest list are there
        self.banks = deque([0, 0], 2)  # when the queries of lists are not wanted any more
        self.folding = self.array = self.softmax = 0  # when each is free
        self.scores: deque[list[int]] = deque()  # of pages, when those of each query are there
        self.weights = deque([0, 0], 2)  # when those of pages are not wanted any more
        self.reads: deque[int] = deque()  # cycles that sums of lists still take
        self.group = 0  # cycles of a group of the latest keys
        self.added = 0  # when value sums were last added to

    def play(self, pages: Sequence[tuple[PageLayout, PageLayout]], lists: int) -> list[int]:
        """Equal lists; returns when the array was done with the values of each page."""
        ends = []
        known = {layout: page_work(self.config, layout) for pair in set(pages) for layout in pair}
        total, lag, elements = lists * len(pages), self.times.lag, self.queries * pages[0][0].channels
        for number in range(total + lag):
            place = number % len(pages)
            if number < total:
                if place == 0:
                    self.queried = max(self.queried, self.banks[0]) + query_memory.PACE * elements
                self._keys(known[pages[place][0]])
                if place == len(pages) - 1:
                    self.banks.append(self.folding)
            if number >= lag:
                place = (number - lag) % len(pages)
                self._values(known[pages[place][1]], place == 0)
                ends.append(self.array)
                if place == len(pages) - 1:
                    self.reads.append(self.times.read + _division(elements, self.queries))
        return ends

    def _keys(self, page: PageWork) -> None:
        ready, there = self._load(page)
        ready = max(ready, self.queried + query_memory.DELAY)
        scores = []
        self.group = page.group
        for query in range(self.queries):
            self._products(page, query, ready, there)
            scores.append(self.array + self.times.scores)
        self.scores.append(scores)

    def _values(self, page: PageWork, opens: bool) -> None:
        ready, there = self._load(page)
        ready = max(ready, self._weigh(self.scores.popleft()))
        self.array += self._turn(page)
        self._read(self.array - self.added)
        if opens:
            most = 0 if 2 * self.queries > self.config.kv.queries else 1
            while len(self.reads) > most:
                self.array += self.reads[0]
                self._read(self.reads[0])
        for query in range(self.queries):
            self._products(page, query, ready, there)
        self.added = self.array
        self.weights.append(self.folding)

    def _turn(self, page: PageWork) -> int:
        """What the array loses from the latest keys to values, whose groups may be shorter than others."""
        times = self.times
        if page.group >= page.apart:
            return times.equal * (page.group == page.apart)
        queries = self.queries * (self.group == page.apart)
        return times.short + times.longer * (self.group - page.apart) + times.tight * queries

    def _weigh(self, scores: list[int]) -> int:
        """When a page's weights are there, of which it remembers those of two pages."""
        self.softmax = max(self.softmax, self.weights[0])
        for score in scores:
            self.softmax = max(self.softmax, score) + self.config.kv.page_tokens
        return self.softmax + self.times.weights

    def _read(self, cycles: int) -> None:
        """Sums are read for so many cycles."""
        while self.reads and cycles > 0:
            taken = min(cycles, self.reads[0])
            cycles -= taken
            self.reads[0] -= taken
            if not self.reads[0]:
                self.reads.popleft()

    def _load(self, page: PageWork) -> tuple[int, list[int]]:
        """When vectors of a page may begin, and when each of its words of codes is there."""
        numbers = max(self.word + self.times.page, self.ends[0]) + page.numbers
        self.word, there = numbers, []
        for count in range(page.codes):
            granule = self.written + page.granules * (count + 1) // page.codes
            self.word = max(self.word + 1, self._freed(granule - depth(self.config)))
            there.append(self.word)
        return numbers + self.times.numbers, there

    def _freed(self, granule: int) -> int:
        """When a granule has been read for the last time; pages read theirs at a steady pace."""
        while self.codes and self.codes[0][1] < granule:
            self.codes.popleft()
        if granule <= 0 or not self.codes:
            return 0
        first, last, begins, ends = self.codes[0]
        return begins + (ends - begins) * max(granule - first, 0) // (last - first)

    def _products(self, page: PageWork, query: int, ready: int, there: list[int]) -> None:
        """All products of a query with a page; the first query's wait for codes."""
        begins = 0
        for part in range(page.parts):
            starts = max(self.folding, ready, self.places[0] + self.times.place)
            self.folding = starts + page.beats[part]
            starts = max(self.array, self.folding + self.times.fold)
            begins = begins or starts
            self.array = starts + page.cycles
            if not query:
                self.array = max(
                    self.array, there[len(there) * (part + 1) // page.parts - 1] + self.times.code
                )
            self.places.append(self.array)
        if query == self.queries - 1:
            self.codes.append((self.written, self.written + page.granules, begins, self.array))
            self.written += page.granules
            self.ends.append(self.array)


def attention_cycles(
    config: Config, runs: Sequence[Run], queries: int, lists: int, overheads: Overheads = OVERHEADS
) -> int:
    """Cycles from the first word to the last output of equal lists, no stream stalling.

    Args:
        config: of the tile; ``rows`` and ``lanes`` of the layouts must be its own.
        runs: the pages of a list.
        queries: 1 to ``config.kv.queries``.
        lists: how many.
        overheads: of the engine.
    """
    runs = tuple(run for run in runs if run[-1])
    key: Any = config, runs, queries, overheads
    if key not in _KNOWN:
        _KNOWN[key] = _cycles(config, runs, queries, overheads)
    first, later = _KNOWN[key]
    return first + (lists - 1) * later


_KNOWN: dict[Any, tuple[int, int]] = {}


def _cycles(config: Config, runs: tuple[Run, ...], queries: int, overheads: Overheads) -> tuple[int, int]:
    """Of a list by itself, and from the end of one to that of the next."""
    pages: list[tuple[PageLayout, PageLayout]] = []
    rest = []
    for key, value, count in runs:
        pages += [(key, value)] * min(count, _PLAYED)
        if count > _PLAYED:
            rest.append((len(pages) - 1 - overheads.lag, count - _PLAYED))  # keys of the next run come later
    alone, among = (
        _Timeline(config, queries, overheads).play(pages, lists)[: _COUNTED * len(pages)]
        for lists in (1, _COUNTED + 1)
    )
    before, later = (among[count * len(pages) :][: len(pages)] for count in (_COUNTED - 2, _COUNTED - 1))
    half = _PLAYED // 2
    left_out = sum(count * (later[last] - later[last - half]) // half for last, count in rest)
    outputs = overheads.read + _division(queries * pages[0][0].channels, queries)
    return alone[-1] + left_out + outputs, later[-1] - before[-1] + left_out


def _division(elements: int, queries: int) -> int:
    """Cycles in which a list's sums are divided."""
    return division.PACE * (elements + queries * (division.PREPARATION + division.LATENCY))
