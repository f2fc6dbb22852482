"""Cycles of attention in kvloom's engine, from the rules that its circuits follow.

A list is what some queries of one KV head see: pages of keys and values, each read from memory once. A page
is worked on turn by turn of its queries, one in each column of the array, in products of a vector of each
with some of its outputs (``hw.attention.engine``):

* queries come to the base-2 domain one element every other cycle, those of the next list meanwhile;
* memory gives a word a cycle while there is room for codes;
* a vector is folded, ``activation_lanes`` elements a cycle, once its page's numbers are there and, for
  values, all weights of the page; it waits for the array, which holds a few of them;
* the array takes a chunk every ``terms`` cycles, and a group when its dot products find room;
* each column's softmax weighs a token a cycle, query by query;
* where a maximum moves, the sum of weights is shifted before, and the value sums one by one;
* at the end of a list its value sums are read, in cycles in which none are added to, and divided.

``attention_cycles`` plays them, product by product. What passes between them is measured, and stands in
``OVERHEADS``. A long list is not played to its end: pages of one kind soon take the same cycles. Nor are all
moves played: one in each run is, and stands for others.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from golden.kv.pages import PageLayout
from hw.attention import division, query_memory, softmax
from hw.attention.code_memory import depth
from hw.config import Config
from synth.model.page_work import PageWork, page_work

__all__ = ["OVERHEADS", "Overheads", "Run", "Timeline", "attention_cycles", "expected_moves"]

Run = tuple[PageLayout, PageLayout, int]
"""Keys and values of the same tokens, and how many such pages follow one another."""

_COUNTED = 4
"""The list that counts; another one follows it."""

_PLAYED = 16
"""Pages of a run that are played for each column, as the sums of all columns are read at the end of a list.

The second half of them stands for those that are left out.
"""

_MOVING = 1 / 3
"""Moves of a model's maxima, of those of random scores: a maximum is rounded up to an integer, and
often it is that of the first token. SmolLM2's move 1.02 times in 32 pages, not 3.06 (``tests/attention``)."""


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
        tight: more of them for each turn.
        turns: that count at most, where groups of keys are longer.
        opening: more of them where the values are a list's first.
        equal: the same where groups of values are as short as others may be.
        shifted: of the shifts of a turn's sums, those that the array does not wait for.
        unsteady: between shifted turns, for each cycle by which groups are shorter than others may be.
        scores: from the last chunk of a query's keys to its first weight.
        moved: more of them where its maximum has moved.
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
    short: int = 8
    longer: float = 0.5
    tight: float = 3.25
    turns: int = 3
    opening: int = 8
    equal: int = 2
    shifted: int = 12
    unsteady: int = 9
    scores: int = 50
    moved: int = softmax.MOVE_CYCLES + 2
    weights: int = 6
    read: int = 20
    vectors: int = 9
    pages: int = 4
    lag: int = 2


OVERHEADS = Overheads()


class Timeline:
    """When things happen; the first word is taken in cycle 0."""

    def __init__(self, config: Config, queries: int, overheads: Overheads) -> None:
        self.config, self.queries, self.times = config, queries, overheads
        self.turns = ceil(queries / config.columns)
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

    def play(
        self, pages: Sequence[tuple[PageLayout, PageLayout]], lists: int, moving: int | None = None
    ) -> list[int]:
        """Equal lists; returns when the array was done with the values of each page.

        Args:
            pages: of a list.
            lists: how many.
            moving: page of a list with which all maxima move, beside the first one.
        """
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
                self._values(known[pages[place][1]], place == 0, place == moving)
                ends.append(self.array)
                if place == len(pages) - 1:
                    self.reads.append(self.times.read + _division(elements, self.queries))
        return ends

    def _keys(self, page: PageWork) -> None:
        ready, there = self._load(page)
        ready = max(ready, self.queried + query_memory.DELAY)
        scores = []
        self.group = page.group
        for turn in range(self.turns):
            self._products(page, turn, ready, there)
            scores.append(self.array + self.times.scores)
        self.scores.append(scores)

    def _values(self, page: PageWork, opens: bool, moves: bool) -> None:
        ready, there = self._load(page)
        ready = max(ready, self._weigh(self.scores.popleft(), moves))
        self.array += self._turn(page, opens)
        self._read(self.array - self.added)
        if opens:
            most = 0 if 2 * self.queries > self.config.kv.queries else 1
            while len(self.reads) > most:
                self.array += self.reads[0]
                self._read(self.reads[0])
        for turn in range(self.turns):
            self._products(page, turn, ready, there, moves)
        self.added = self.array
        self.weights.append(self.folding)

    def _turn(self, page: PageWork, opens: bool) -> int:
        """What the array loses from the latest keys to values, whose groups may be shorter than others."""
        times = self.times
        longer = self.group - page.apart
        if page.group >= page.apart:
            return round(times.equal * (page.group == page.apart) + times.tight * self.turns * (not longer))
        turns = min(self.turns, times.turns) if longer else self.turns
        return round(times.short + times.opening * opens + times.longer * longer + times.tight * turns)

    def _weigh(self, scores: list[int], moves: bool) -> int:
        """When a page's weights are there, of which it remembers those of two pages."""
        self.softmax = max(self.softmax, self.weights[0])
        for score in scores:
            starts = max(self.softmax, score) + moves * self.times.moved
            self.softmax = starts + self.config.kv.page_tokens
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

    def _products(self, page: PageWork, turn: int, ready: int, there: list[int], moves: bool = False) -> None:
        """All products of a turn of queries with a page; the first turn's wait for codes."""
        cycles = max(page.cycles, page.shifting) if moves else page.cycles
        if moves and turn:
            self.array += self.times.unsteady * max(page.apart - page.group, 0)
        begins = 0
        for part in range(page.parts):
            starts = max(self.folding, ready, self.places[0] + self.times.place)
            self.folding = starts + page.beats[part]
            starts = max(self.array, self.folding + self.times.fold)
            begins = begins or starts
            self.array = starts + cycles
            if not turn:
                self.array = max(
                    self.array, there[len(there) * (part + 1) // page.parts - 1] + self.times.code
                )
            self.places.append(self.array)
        self.array -= moves * self.times.shifted
        if turn == self.turns - 1:
            self.codes.append((self.written, self.written + page.granules, begins, self.array))
            self.written += page.granules
            self.ends.append(self.array)


def attention_cycles(
    config: Config,
    runs: Sequence[Run],
    queries: int,
    lists: int,
    overheads: Overheads = OVERHEADS,
    moves: Sequence[float] | None = None,
) -> int:
    """Cycles from the first word to the last output of equal lists, no stream stalling.

    Args:
        config: of the tile; ``rows`` and ``lanes`` of the layouts must be its own.
        runs: the pages of a list.
        queries: 1 to ``config.kv.queries``.
        lists: how many.
        overheads: of the engine.
        moves: with how many pages of each run maxima move; None: as ``expected_moves`` has it.
    """
    if moves is None:
        moves = expected_moves(runs, min(queries, config.columns))
    wanted = [(run, often) for run, often in zip(runs, moves, strict=True) if run[-1]]
    runs, moves = tuple(run for run, _ in wanted), tuple(often for _, often in wanted)
    key: Any = config, runs, queries, overheads, moves
    if key not in _KNOWN:
        _KNOWN[key] = _cycles(config, runs, queries, overheads, moves)
    first, later = _KNOWN[key]
    return round(first + (lists - 1) * later)


def expected_moves(runs: Sequence[Run], columns: int) -> list[float]:
    """With how many pages of each run a maximum of one of some columns' queries is expected to move.

    Of random scores the largest one of k pages is in each of them with the same probability.
    """
    found, before = [], 0
    for *_, count in runs:
        pages = range(before + 1, before + count + 1)
        found.append(sum(1 - (1 - _MOVING / page) ** columns for page in pages if page > 1))
        before += count
    return found


_KNOWN: dict[Any, tuple[float, float]] = {}


def _cycles(
    config: Config, runs: tuple[Run, ...], queries: int, overheads: Overheads, moves: tuple[float, ...]
) -> tuple[float, float]:
    """Of a list by itself, and from the end of one to that of the next."""
    found = plain = _played(config, runs, queries, overheads)
    for run, often in enumerate(moves):
        if often:
            once = _played(config, runs, queries, overheads, run)
            found = [
                total + often * (more - less) for total, more, less in zip(found, once, plain, strict=True)
            ]
    alone, later = found
    return alone, later


def _played(
    config: Config,
    runs: tuple[Run, ...],
    queries: int,
    overheads: Overheads,
    moving: int | None = None,
) -> tuple[int, int]:
    """The same, where maxima move once in a run or never."""
    pages: list[tuple[PageLayout, PageLayout]] = []
    rest = []
    early, most = None, _PLAYED * config.columns
    for number, (key, value, count) in enumerate(runs):
        if number == moving:
            early = len(pages) + min(count, most) // 4  # before those that stand for others
        pages += [(key, value)] * min(count, most)
        if count > most:
            rest.append((len(pages) - 1 - overheads.lag, count - most))  # keys of the next run come later
    alone, among = (
        Timeline(config, queries, overheads).play(pages, lists, early)[: _COUNTED * len(pages)]
        for lists in (1, _COUNTED + 1)
    )
    before, later = (among[count * len(pages) :][: len(pages)] for count in (_COUNTED - 2, _COUNTED - 1))
    half = most // 2
    left_out = sum(count * (later[last] - later[last - half]) // half for last, count in rest)
    outputs = overheads.read + _division(queries * pages[0][0].channels, queries)
    return alone[-1] + left_out + outputs, later[-1] - before[-1] + left_out


def _division(elements: int, queries: int) -> int:
    """Cycles in which a list's sums are divided."""
    return division.PACE * (elements + queries * (division.PREPARATION + division.LATENCY))
