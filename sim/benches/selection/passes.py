"""A circuit that asks for its words pass after pass, and answers with a bitmap and what it found."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from amaranth.hdl import ShapeLike
from numpy.typing import NDArray

from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.streams import Domain, Scoreboard, StreamSink, StreamSource, situation

__all__ = ["PassBench"]


class PassBench:
    """The circuit, and a memory that gives words as often as they are asked for.

    Attributes:
        memory: requests that wait for their last pass, and what makes the words of each pass.
        asked: passes that the oldest of them had.
        taken, times: cycles in which requests were taken and answers came.

    Args:
        domain: of the design.
        stalls: a situation of all its streams.
        words: name of the stream of words.
        shapes: payloads of ``requests``, ``passes``, the words, ``selected`` and ``found``.
        errors: what the design reports.
        coverage: how many tokens the last word of a bitmap has.
        at_once: the memory offers its first word a cycle after it is asked, else two.
    """

    def __init__(
        self,
        domain: Domain,
        stalls: str,
        words: str,
        shapes: Mapping[str, ShapeLike],
        errors: ErrorPlan,
        coverage: Coverage,
        at_once: bool,
    ) -> None:
        where = situation(stalls)
        self.domain = domain
        self.errors = ErrorCounter(domain, errors)
        self.taken: list[int] = []
        self.times: list[int] = []
        self._shapes, self._coverage = shapes, coverage
        self.requests = StreamSource(
            domain,
            "requests",
            shapes["requests"],
            where.source,
            lambda _: self.taken.append(domain.cycle),
        )

        def sink(name: str, observer: Callable[[int], None]) -> StreamSink:
            return StreamSink(domain, name, shapes[name], where.sink, where.sink_waits, observer)

        # What was made first is stepped first: a source behind it answers in the same cycle.
        if at_once:
            sink("passes", self._ask)
        self.words = StreamSource(domain, words, shapes[words], where.source)
        if not at_once:
            sink("passes", self._ask)
        sink("selected", lambda bits: self.bits.observe(bits))
        self.found = sink("found", self._find)
        self._forget()

    def _forget(self) -> None:
        """What was expected."""
        self.bits = Scoreboard("selected", self._shapes["selected"])
        self.board = Scoreboard("found", self._shapes["found"])
        self.memory: deque[tuple[Any, Callable[[], list[Any]]]] = deque()
        self.asked, self.wanted = 0, self.found.count

    def _ask(self, bits: int) -> None:
        request, words = self.memory[0]
        self.words.send_all(words())
        self.asked += 1
        if bits:
            self.ended(request, self.asked)
            self.asked = 0
            self.memory.popleft()

    def ended(self, request: Any, passes: int) -> None:
        """The last pass of a request was asked for."""
        raise NotImplementedError

    def _find(self, bits: int) -> None:
        self.times.append(self.domain.cycle)
        self.board.observe(bits)

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self._forget()

    def expect(self, found: dict[str, Any]) -> None:
        """One more answer."""
        self.wanted += 1
        self.board.expect(found)

    def expect_bitmap(self, chosen: NDArray[np.bool_], lanes: int) -> None:
        """The words of a bitmap of so many tokens each."""
        flags = np.pad(chosen, (0, -len(chosen) % lanes)).reshape(-1, lanes)
        for number, word in enumerate((flags << np.arange(lanes)).sum(1).tolist()):
            self.bits.expect({"chosen": word, "last": number == len(flags) - 1})
        self._coverage.hit(last=(len(chosen) - 1) % lanes + 1)

    async def finish(self) -> None:
        """Wait for every answer, and see that no other comes and nothing is left."""
        await self.found.wait_for(self.wanted)
        for source in (self.requests, self.words):
            await source.drained()
        await self.domain.cycles(20)
        self.bits.finish()
        self.board.finish()
        assert self.asked == 0
