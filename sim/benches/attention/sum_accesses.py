"""Segments and reads of value sums, each as soon as those that it waits for have been taken."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from sim.streams import Domain, StreamSource

__all__ = ["SumAccesses"]


class SumAccesses:
    """Holds the beats of two sources back until their query's sums may be changed, or are complete."""

    def __init__(self, domain: Domain, sources: Mapping[str, StreamSource]) -> None:
        self._sources = {name: sources[name] for name in ("segments", "reads")}
        self._waiting: dict[str, deque[tuple[dict[str, Any], int]]] = {}
        self._count: dict[str, int] = {}
        self._latest: dict[tuple[str, int], int] = {}
        self.restart()
        domain.add(self)

    def segment(self, payload: dict[str, Any]) -> None:
        """Queue a segment, behind the reads of its query."""
        self._queue("segments", "reads", payload)

    def read(self, payload: dict[str, Any]) -> None:
        """Queue a read, behind the segments of its query."""
        self._queue("reads", "segments", payload)

    def _queue(self, name: str, other: str, payload: dict[str, Any]) -> None:
        query = payload["query"]
        self._count[name] += 1
        self._latest[name, query] = self._count[name]
        self._waiting[name].append((payload, self._latest.get((other, query), 0)))

    def step(self) -> None:
        for (name, source), other in zip(self._sources.items(), ("reads", "segments"), strict=True):
            waiting = self._waiting[name]
            while waiting and waiting[0][1] <= self._sources[other].sent:
                source.send(waiting.popleft()[0])

    def restart(self) -> None:
        for name, source in self._sources.items():
            self._waiting[name] = deque()
            self._count[name] = source.sent
        self._latest.clear()

    def status(self) -> str:
        return ", ".join(f"{len(waiting)} {name} held back" for name, waiting in self._waiting.items())
