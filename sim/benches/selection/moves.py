"""A mover beside the memory of one head: moves are sent, what comes of them is written into the memory."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv.pages import SIDES
from hw.config import Config
from hw.kv.payloads import word, written_word
from hw.selection.moving.payloads import (
    PAGE_BITS,
    Source,
    class_row,
    closed_page,
    copy_read,
    copy_write,
    kept_row,
    move_request,
    move_result,
    moved_token,
    token_entry,
)
from hw.selection.payloads import score_lanes, selected_tokens
from sim.benches.kv.pages import form_fields
from sim.benches.selection.class_memory import ClassMemory
from sim.streams import Domain, StreamSink, StreamSource, situation

__all__ = ["Move", "MoveBench", "bitmap"]


class Move(NamedTuple):
    """Tokens ``chosen`` (bool, in the order of attention) of class ``source`` go to ``target``."""

    source: int
    target: int
    chosen: NDArray[np.bool_]
    pace: int = 0


def bitmap(chosen: NDArray[np.bool_], lanes: int) -> list[dict[str, Any]]:
    """Payloads ``selected_tokens``; bits behind the last token are set."""
    flags = np.pad(chosen, (0, -len(chosen) % lanes), constant_values=True).reshape(-1, lanes)
    words = (flags << np.arange(lanes)).sum(1).tolist()
    return [{"chosen": own, "last": number == len(words) - 1} for number, own in enumerate(words)]


class MoveBench:
    """The mover with its streams.

    Attributes:
        memory: of the head at work.
        moved: indices of the tokens that the present move has told.
        freed: pages that all moves have freed.
        read_at: cycles in which words were read.
        damage: words of a page's side, by its number and the side, that memory brings instead of its own.

    Args:
        domain: of the design.
        config: the mover's.
        stalls: a situation of all its streams.
        prefix: of the names of its streams in a larger design, which has a source of ``chosen``.
    """

    def __init__(self, domain: Domain, config: Config, stalls: str, prefix: str = "") -> None:
        self.domain, self.config = domain, config
        where = situation(stalls)
        width = config.memory_bits

        def sink(name: str, shape: Any, observer: Any) -> StreamSink:
            def observe(bits: int) -> None:
                observer(made.codec.unpack(bits))

            made = StreamSink(domain, prefix + name, shape, where.sink, where.sink_waits, observe)
            return made

        def source(name: str, shape: Any) -> StreamSource:
            return StreamSource(domain, prefix + name, shape, where.source)

        sink("reads", copy_read(config), self._read)
        self.words = StreamSource(domain, prefix + "words", word(width), where.source, self._count)
        sink("moved", moved_token(config), self._moved)
        sink("kept", kept_row(config), self._kept)
        sink("writes", copy_write(config), self._write)
        sink("closed", closed_page(config), self._closed)
        sink("pages", written_word(width), self._page)
        self.results = sink("results", move_result(config), self._result)
        self.requests = source("requests", move_request(config))
        self.rows = source("rows", class_row(config))
        self.entries = source("entries", token_entry)
        self.chosen = None if prefix else source("chosen", selected_tokens(config))
        self.free = source("free", PAGE_BITS)
        self.wanted = self.freed = 0
        self.read_at: list[int] = []
        self.damage: dict[tuple[int, int], list[int]] = {}

    @property
    def sources(self) -> list[StreamSource]:
        """All its sources."""
        own = [self.requests, self.rows, self.entries, self.free, self.words]
        return own if self.chosen is None else [*own, self.chosen]

    def use(self, memory: ClassMemory) -> None:
        """Turn to the memory of another head."""
        self.memory = memory

    def send(self, move: Move, forms: dict[str, Any] | None = None, refused: bool = False) -> None:
        """A move of the present memory, by other formats than its own if they are given."""
        memory, self.move = self.memory, move
        drops = move.target == len(memory.classes)
        waits = move.source != move.target
        own = memory.classes[move.source]
        target = memory.classes[0 if drops else move.target]
        self.moved: list[int] = []
        self.page: list[list[int]] = []
        self.header: dict[str, Any] | None = None
        self.refused, self.ended = refused, False
        request = {
            "own": [form_fields(layout) for layout in own.layouts],
            "target": [form_fields(layout) for layout in target.layouts],
            "top": memory.golden.top.tolist(),
            "drops": drops,
            "place": target.place,
            "own_half": own.place // memory.tokens,
            "pace": move.pace,
        }
        self.requests.send(request | (forms or {}))
        rows, entries = memory.rows(move.source, waits), memory.live_entries(move.source, waits)
        self.rows.send_all(rows)
        self.entries.send_all(entries)
        assert len(entries) == len(move.chosen)
        if self.chosen is not None:
            self.chosen.send_all(bitmap(move.chosen, score_lanes(self.config)))
        taken = 0 if drops or refused else (target.place % memory.tokens + move.chosen.sum()) // memory.tokens
        self.free.send_all(list(target.free)[: int(taken)])
        self.kept = [row["page"] for row in rows]
        self.indices = [entry["index"] for entry, leaves in zip(entries, move.chosen, strict=True) if leaves]
        self.wanted += 1

    async def finish(self) -> None:
        """Wait for the move, see that nothing else is left, and compare the memory with golden."""
        await self.results.wait_for(self.wanted)
        for source in self.sources:
            await source.drained()
        await self.domain.cycles(10)
        assert not self.kept
        assert self.ended
        if not self.refused:
            self.memory.golden.move(self.indices, self.move.target)
            assert self.moved == self.indices
        self.memory.check()
        assert self.top == self.memory.golden.top.tolist()

    def _read(self, read: dict[str, Any]) -> None:
        words = self.memory.words(read, self.move.source, self.move.target)
        if read["source"] is Source.PAGE and (read["page"], read["side"].value) in self.damage:
            words = self.damage[read["page"], read["side"].value]
        self.words.send_all(
            {"data": data, "last": number == len(words) - 1} for number, data in enumerate(words)
        )

    def _count(self, _: int) -> None:
        self.read_at.append(self.domain.cycle)

    def _moved(self, moved: dict[str, Any]) -> None:
        assert not self.ended
        self.ended = bool(moved["last"])
        if self.ended:
            return
        self.moved.append(moved["entry"]["index"])
        if self.move.target < len(self.memory.classes):
            self.memory.classes[self.move.target].entries[moved["place"]] = moved["entry"]

    def _kept(self, kept: dict[str, Any]) -> None:
        assert kept["page"] == self.kept.pop(0)
        assert bool(kept["last"]) == (not self.kept)
        self.memory.keep(self.move.source, kept)
        self.freed += int(kept["freed"])

    def _write(self, write: dict[str, Any]) -> None:
        self.memory.store(write, self.move.source, self.move.target)

    def _closed(self, closed: dict[str, Any]) -> None:
        assert self.header is None
        self.header, self.page = closed, [[]]

    def _page(self, written: dict[str, Any]) -> None:
        assert self.header is not None
        self.page[-1].append(written["data"])
        if not written["last"]:
            return
        if len(self.page) < len(SIDES):
            self.page.append([])
            return
        self.memory.close(self.move.target, self.header["page"], self.header["half"], self.page)
        self.header = None

    def _result(self, result: dict[str, Any]) -> None:
        assert bool(result["error"]) == self.refused
        if self.move.target < len(self.memory.classes):
            self.memory.classes[self.move.target].place = result["place"]
        self.top = result["top"]
