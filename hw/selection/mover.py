"""Mover: tokens of one class to pages of another, or out of the cache.

Meaning: ``golden.selection.classes.Classes.move`` of tokens of one class, whose pages, page tables and
waiting tokens lie in memory. Tokens that leave a page are decoded to float16 and wait in a copy in memory,
without gaps; when the copy is full, it is quantised and becomes a page of its new class. Nothing stays in the
circuit between moves, so it serves any number of layers, heads and sequences.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.half_reader import HalfReader
from hw.kv.page_closer import PageCloser
from hw.kv.page_shape import channels, is_legal
from hw.kv.payloads import HALF_BITS, Side, word, written_word
from hw.selection.moving.copy_writer import CopyWriter
from hw.selection.moving.departures import Departures
from hw.selection.moving.payloads import (
    PACE_BITS,
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
from hw.selection.payloads import selected_tokens
from hw.selection.token_marks import count_ones

__all__ = ["Mover"]


class Mover(wiring.Component):
    """Move tokens, page after page of a class.

    A page that no token leaves costs a cycle for each of its places. Of any other one both sides are read and
    decoded, as fast as ``HalfReader``; a page that is filled takes as long as ``PageCloser`` for each side.
    All of it is done one after the other, so that a page or a copy is given back only when it has been read.
    ``pace`` of a request leaves memory to others.

    A class is moved within itself, to close its holes, without its waiting row. Tokens that wait and do not
    leave move up in their copy.

    Members:
        requests (in stream): moves.
        rows, entries, chosen, free (in streams): as of ``Departures``. There is a bit of ``chosen`` for each
            entry, in words of which the last one may have more; none at all where no row has an entry.
        moved, kept (out streams): as of ``Departures``.
        reads (out stream): what is to be read; a page of the class, or a copy. The tokens of a copy that does
            not wait in a whole page are its first ones.
        words (in stream): that, ``last`` with its last word.
        writes (out stream): tokens that move, to copies. What is read later must have them.
        closed (out stream): a page that is written next, all words of its keys, then all of its values.
        pages (out stream): these words.
        results (out stream): one for each request, after all else.
        error_request (out): formats that no page has, or of different heads: one cycle, and no token leaves.
        error_page (out): one cycle for a page that was damaged, as of ``PageReader``; its tokens move with
            what was left of it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = config.memory_bits
        super().__init__(
            {
                "requests": In(stream.Signature(move_request(config))),
                "rows": In(stream.Signature(class_row(config))),
                "entries": In(stream.Signature(token_entry)),
                "chosen": In(stream.Signature(selected_tokens(config))),
                "free": In(stream.Signature(PAGE_BITS)),
                "moved": Out(stream.Signature(moved_token(config))),
                "kept": Out(stream.Signature(kept_row(config))),
                "reads": Out(stream.Signature(copy_read(config))),
                "words": In(stream.Signature(word(width))),
                "writes": Out(stream.Signature(copy_write(config))),
                "closed": Out(stream.Signature(closed_page(config))),
                "pages": Out(stream.Signature(written_word(width))),
                "results": Out(stream.Signature(move_result(config))),
                "error_request": Out(1),
                "error_page": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.departures = departures = Departures(self.config)
        m.submodules.reader = HalfReader(self.config)
        m.submodules.writer = writer = CopyWriter(self.config)
        m.submodules.closer = PageCloser(self.config)
        for name in ("rows", "entries", "chosen", "free"):
            connect(m, flipped(getattr(self, name)), getattr(departures, name))
        for name in ("moved", "kept"):
            connect(m, getattr(departures, name), flipped(getattr(self, name)))
        connect(m, writer.writes, flipped(self.writes))
        request = Signal(move_request(self.config), reset_less=True)
        side = Signal(Side)
        source = Signal(Source)
        takes = Signal()  # words
        fits = Signal()
        m.d.comb += [
            fits.eq(request.drops | self._fits(request)),
            departures.drops.eq(request.drops),
            departures.refused.eq(~fits),
            departures.place.eq(request.place),
        ]
        self._describe(m, request, side, source)
        self._route(m, takes, source, request.pace)
        self._sequence(m, request, side, source, takes, fits)
        self._close(m, request, side, source, takes)
        return m

    def _fits(self, request: data.View) -> Value:
        """Whether all four formats can be those of pages of one head."""
        forms = [(side, own[side.value]) for own in (request.own, request.target) for side in Side]
        head = request.own[0]
        return Cat(
            (channels(head) * HALF_BITS & self.config.memory_bits - 1) == 0,
            *((form.side == side) & is_legal(form, self.config) for side, form in forms),
            *(form.channels == head.channels for _, form in forms[1:]),
        ).all()

    def _describe(self, m: Module, request: data.View, side: Value, source: Value) -> None:
        """Payloads that follow from the request and what is at work."""
        departures, writer = m.submodules.departures, m.submodules.writer
        reader, closer = m.submodules.reader, m.submodules.closer
        leaving, asked = departures.departures.payload, self.reads.payload
        tokens = self.config.kv.page_tokens
        waiting = count_ones(leaving.live)
        own = source == Source.OWN_COPY
        m.d.comb += [
            asked.source.eq(source),
            asked.page.eq(leaving.page),
            asked.half.eq(Mux(own, request.own_half, departures.closes.payload.half)),
            asked.side.eq(side),
            asked.tokens.eq(Mux(own, waiting - 1, tokens - 1)),
            reader.formats.payload.eq(request.own[side]),
            closer.formats.payload.form.eq(request.target[side]),
            closer.formats.payload.top.eq(request.top[side]),
            writer.departure.eq(leaving),
            writer.drops.eq(request.drops),
            writer.side.eq(side),
            writer.own_half.eq(request.own_half),
            writer.last_word.eq((channels(request.own[0]) * HALF_BITS // self.config.memory_bits) - 1),
            self.closed.payload.eq(departures.closes.payload),
            self.results.payload.place.eq(departures.next_place),
            self.results.payload.top.eq(request.top),
        ]

    def _route(self, m: Module, takes: Value, source: Value, pace: Value) -> None:
        """Words to who wants them, and what they make of them."""
        reader, writer, closer = m.submodules.reader, m.submodules.writer, m.submodules.closer
        rest = Signal(PACE_BITS)
        opens = Signal()
        users = {
            Source.PAGE: reader.words,
            Source.OWN_COPY: writer.words,
            Source.TARGET_COPY: closer.copies,
        }
        m.d.comb += opens.eq(takes & (rest == 0))
        for own, user in users.items():
            m.d.comb += [
                user.payload.eq(self.words.payload),
                user.valid.eq(self.words.valid & opens & (source == own)),
            ]
        ready = Mux(source == Source.PAGE, reader.words.ready, writer.words.ready)
        m.d.comb += [
            self.words.ready.eq(opens & Mux(source == Source.TARGET_COPY, closer.copies.ready, ready)),
            writer.elements.payload.eq(reader.elements.payload),
            writer.elements.valid.eq(reader.elements.valid),
            reader.elements.ready.eq(writer.elements.ready),
        ]
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += rest.eq(pace)
        connect(m, closer.words, flipped(self.pages))

    def _sequence(
        self, m: Module, request: data.View, side: Signal, source: Signal, takes: Value, fits: Value
    ) -> None:
        """Page after page: read and write the tokens that leave."""
        departures, writer, reader = m.submodules.departures, m.submodules.writer, m.submodules.reader
        leaving, elements, words = departures.departures, reader.elements, self.words
        damaged = elements.valid & elements.ready & elements.payload.last & elements.payload.error
        m.d.sync += [self.error_request.eq(0), self.error_page.eq(damaged)]
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += self.requests.ready.eq(1)
                m.d.sync += request.eq(self.requests.payload)
                with m.If(self.requests.valid):
                    m.next = "start"
            with m.State("start"):
                m.d.comb += departures.starts.eq(1)
                m.d.sync += self.error_request.eq(~fits)
                m.next = "walk"
            with m.State("walk"):
                m.d.comb += writer.restart.eq(1)
                with m.If(leaving.valid):
                    m.d.sync += side.eq(Side.KEY)
                    m.d.sync += source.eq(Mux(leaving.payload.waits, Source.OWN_COPY, Source.PAGE))
                    m.next = "form"
                with m.Elif(departures.idle & ~self.moved.valid):
                    m.next = "result"
            with m.State("form"):
                m.d.comb += [reader.formats.valid.eq(source == Source.PAGE), writer.restart.eq(1)]
                with m.If((source != Source.PAGE) | reader.formats.ready):
                    m.next = "ask"
            with m.State("ask"):
                m.d.comb += self.reads.valid.eq(1)
                with m.If(self.reads.ready):
                    m.next = "move"
            with m.State("move"):
                m.d.comb += takes.eq(1)
                with m.If(
                    Mux(
                        source == Source.PAGE,
                        elements.valid & elements.ready & elements.payload.last,
                        words.valid & words.ready & words.payload.last,
                    )
                ):
                    m.next = "settle"
            with m.State("settle"), m.If(~writer.writes.valid):
                m.d.sync += side.eq(Side.VALUE)
                m.next = "form"
                with m.If(side == Side.VALUE):
                    m.d.comb += leaving.ready.eq(1)
                    m.next = "walk"
            with m.State("result"):
                m.d.comb += [self.results.valid.eq(1), self.results.payload.error.eq(~fits)]
                with m.If(self.results.ready):
                    m.next = "idle"

    def _close(self, m: Module, request: data.View, side: Signal, source: Signal, takes: Value) -> None:
        """A copy that is full: read it and write its page. Nothing else is read meanwhile."""
        closes, closer, pages = m.submodules.departures.closes, m.submodules.closer, self.pages
        with m.FSM(name="closing"):
            with m.State("idle"), m.If(closes.valid):
                m.d.sync += [source.eq(Source.TARGET_COPY), side.eq(Side.KEY)]
                m.next = "closed"
            with m.State("closed"):
                m.d.comb += self.closed.valid.eq(1)
                with m.If(self.closed.ready):
                    m.next = "page"
            with m.State("page"):
                m.d.comb += closer.formats.valid.eq(1)
                with m.If(closer.formats.ready):
                    m.next = "ask copy"
            with m.State("ask copy"):
                m.d.comb += self.reads.valid.eq(1)
                with m.If(self.reads.ready):
                    m.next = "close"
            with m.State("close"):
                m.d.comb += takes.eq(1)
                with m.If(pages.valid & pages.ready & pages.payload.last):
                    m.d.sync += [request.top[side].eq(pages.payload.top), side.eq(Side.VALUE)]
                    m.next = "page"
                    with m.If(side == Side.VALUE):
                        m.d.comb += closes.ready.eq(1)
                        m.next = "idle"
