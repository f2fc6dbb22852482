"""Pages of random codes as beats and as words, and what the benches of KV packers and unpacker share."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from amaranth.lib import data

from golden.kv import codings
from hw.kv.payloads import Coding
from sim.streams import Domain, Scoreboard, StreamSink, StreamSource, situation

__all__ = ["NAMES", "CodecBench", "CodedPage", "some_names"]

NAMES = tuple(coding.name for coding in codings.CODINGS)
_SHORTEST = 256
"""Codes of the shortest page of short words."""


class CodedPage(NamedTuple):
    """A page of codes.

    Attributes:
        coding: how they lie in words.
        codes: uint8.
        words: what ``golden.kv.codings`` makes of them, the last word filled up with zeros.
    """

    coding: Coding
    codes: np.ndarray
    words: list[int]

    def word_beats(self) -> list[dict[str, Any]]:
        """The words as payloads ``coded_word``."""
        last = len(self.words) - 1
        return [
            {"data": word, "coding": self.coding, "last": number == last}
            for number, word in enumerate(self.words)
        ]

    def code_beats(self, width: int) -> list[dict[str, Any]]:
        """The codes as payloads ``code_beat`` of so many codes."""
        beats = self.codes.reshape(-1, width).tolist()
        last = len(beats) - 1
        return [
            {"codes": beat, "coding": self.coding, "last": number == last}
            for number, beat in enumerate(beats)
        ]


def _random_page(rng: np.random.Generator, name: str, count: int, memory_bits: int) -> CodedPage:
    """A page of ``count`` random codes, now and then all of them lowest or all highest."""
    coding = codings.get(name)
    highest = 2 if coding.trits else (1 << coding.bits) - 1
    low, high = ((0, highest), (0, highest), (0, highest), (0, 0), (highest, highest))[rng.integers(5)]
    codes = rng.integers(low, high, count, np.uint8, endpoint=True)
    packed = codings.pack(codes, coding)
    size = memory_bits // 8
    padded = np.concatenate([packed, np.zeros(-len(packed) % size, np.uint8)]).reshape(-1, size)
    words = [int.from_bytes(word.tobytes(), "little") for word in padded]
    return CodedPage(Coding(NAMES.index(name)), codes, words)


def some_names(turn: int, count: int) -> list[str]:
    """Codings of ``count`` pages: pairs of neighbours that seven turns of a dozen together exhaust."""
    pairs = [(before, after) for before in NAMES for after in NAMES]
    start = turn * count // 2 % len(pairs)
    return [name for pair in pairs[start:] + pairs[:start] for name in pair][:count]


class CodecBench:
    """A packer or the unpacker: pages in, their other form out and compared, cycles noted.

    Args:
        domain: after its reset.
        stalls: a situation.
        memory_bits: width of the words.
        taken, given: input and output stream: name, payload, and a page's beats of it.

    Attributes:
        departures, arrivals: cycles of the input's and of the output's beats.
        compares: whether anything of the output counts.
        valid: reads whether the output has a beat.
        shortest: codes of the shortest page, whole beats of the wide packer and the unpacker.
    """

    def __init__(
        self,
        domain: Domain,
        stalls: str,
        memory_bits: int,
        taken: tuple[str, data.StructLayout, Callable[[CodedPage], list]],
        given: tuple[str, data.StructLayout, Callable[[CodedPage], list]],
    ) -> None:
        where = situation(stalls)
        self.domain = domain
        self.compares = True
        self.arrivals: list[int] = []
        self.departures: list[int] = []
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.shortest = max(_SHORTEST, memory_bits)
        self._memory_bits, self._beats_in, self._beats_out = memory_bits, taken[2], given[2]
        self.board = Scoreboard(*given[:2])
        self._last_place = given[1].size - 1
        self.valid = domain.reader(f"{given[0]}_valid")
        self._known: deque[bool] = deque()  # of the pages that are to come
        self.source = StreamSource(
            domain, *taken[:2], where.source, lambda _: self.departures.append(domain.cycle)
        )
        self.sink = StreamSink(domain, *given[:2], where.sink, where.sink_waits, self.observe)

    def observe(self, bits: int) -> None:
        self.arrivals.append(self.domain.cycle)
        if not self.compares:
            return
        if not self._known or self._known[0]:
            self.board.observe(bits)
        if bits >> self._last_place:
            self._known.popleft()

    def page(self, name: str, groups: int) -> CodedPage:
        return _random_page(self.rng, name, groups * self.shortest, self._memory_bits)

    def send(self, page: CodedPage) -> None:
        """A page, and its other form."""
        self.source.send_all(self._beats_in(page))
        self.board.expect_all(self._beats_out(page))
        self._known.append(True)

    def send_beginning(self, page: CodedPage, length: int) -> None:
        """The first beats of a page."""
        self.source.send_all(self._beats_in(page)[:length])

    def send_wrong(self, beats: list[dict[str, Any]], expected: list[tuple[Any, Any]] | None = None) -> None:
        """Beats of a page of which anything may come, or what is expected: beats and their unknown bits."""
        self.source.send_all(beats)
        self._known.append(expected is not None)
        for value, unknown in expected or ():
            self.board.expect(value, unknown)

    async def finish(self) -> None:
        """Wait for the last beat of every page, see that no other comes, and compare all of them."""
        while self._known:
            await self.domain.cycles(1)
        await self.domain.cycles(4)  # a beat too many shows here
        self.board.finish()
