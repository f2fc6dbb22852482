"""Attend: attention of queries in scratch memory on the pages and the window of a KV head in memory.

Meaning: ``golden.core.kv.attend``.
"""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, exact_log2

from golden.core.commands import UNIT, Opcode
from hw.attention.division import Division
from hw.attention.engine import Engine, members
from hw.attention.payloads import attention_page
from hw.config import Config
from hw.core.float_conversion import single_of_half
from hw.core.halves import SINGLE_BITS
from hw.core.kv_header import KvHeader, first_fault
from hw.core.page_list import PageList
from hw.core.payloads import (
    Status,
    operands,
    read_request,
    read_word,
    scratch_read,
    scratch_write,
    unit_members,
)
from hw.core.record_feed import RecordFeed
from hw.core.scratch_halves import ScratchHalves, fits

__all__ = ["TILE", "AttendUnit"]

TILE = ("beats", "passes", "chunks", "scales", "channels", "results", "dots", "settled")
"""Ports that are the tile's."""

_REQUESTS = 8
"""Headers, lines of records and pages that are asked for and have not come whole."""


class Taker(enum.Enum, shape=2):
    """Who takes the words that were asked for."""

    HEADER = 0
    RECORDS = 1
    PAGES = 2


class AttendUnit(wiring.Component):
    """Attend with the queries of one KV head; the array is outside.

    Pages are asked for as early as their channel takes it. All queries are read before the first output is
    written, which is when every page has come; none is written if something was wrong.

    Members:
        commands (in stream), done (out stream): a command is taken when the one before is done.
        position (in): of the present token, stable while a command works.
        scratch_read, scratch_write: ports of scratch memory.
        requests (out stream), words (in stream): channel that reads memory.
        beats, passes, chunks, scales, channels (out streams), results, dots (in streams), settled (out): the
            tile's (``hw.attention.engine``).
    """

    def __init__(self, config: Config) -> None:
        self.config = config = config.changed(attention=True)
        ports = members(config)
        super().__init__(
            {
                **unit_members(config, Opcode.ATTEND),
                "position": In(32),
                "scratch_read": Out(scratch_read(config)),
                "scratch_write": Out(scratch_write(config)),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                **{name: ports[name] for name in TILE},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.header = KvHeader(config)
        m.submodules.records = records = RecordFeed(config)
        m.submodules.page_list = pages = PageList(config)
        m.submodules.halves = ScratchHalves(config, config.activation_lanes)
        m.submodules.engine = Engine(config)
        m.submodules.division = Division(config)
        command = Signal(operands(Opcode.ATTEND))
        status = Signal(Status)
        faulty = Signal()  # something was wrong with the header or with memory
        bad = Signal()  # a page was
        self._connect(m, command)
        asked = self._read(m)
        first_fault(m, status, self.words.payload, self.words.valid & self.words.ready)
        written = self._write(m, command, bad, faulty)
        m.d.sync += bad.eq(bad | pages.bad | written.error)
        m.d.comb += [
            faulty.eq(status != Status.DONE),
            records.stop.eq(faulty),
            pages.stop.eq(faulty),
            self.done.payload.status.eq(Mux(~faulty & bad, Status.BAD_PAGE, status)),
        ]
        self._control(m, command, status, bad, written.valid, ~asked & records.idle & pages.idle)
        return m

    def _control(
        self, m: Module, command: data.View, status: Signal, bad: Signal, written: Value, quiet: Value
    ) -> None:
        """Step after step of a command."""
        config, header = self.config, m.submodules.header
        most = config.kv.queries * config.kv.channels
        units = Signal(bits_for(most // UNIT))
        left = Signal(range(most + 1))  # outputs to come
        possible = Signal()
        inside = Signal()
        m.d.sync += units.eq(header.head.channels * command.queries)
        m.d.comb += [
            possible.eq((command.queries != 0) & (command.queries <= config.kv.queries)),
            inside.eq(fits(config, command.source, units) & fits(config, command.destination, units)),
        ]
        with m.If(written):
            m.d.sync += left.eq(left - 1)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.commands.ready.eq(1), header.lines.valid.eq(self.commands.valid)]
                m.d.sync += [command.eq(self.commands.payload), status.eq(Status.DONE), bad.eq(0)]
                with m.If(self.commands.valid):
                    m.next = "header"
            with m.State("header"), m.If(header.finished):
                m.d.sync += left.eq(units << exact_log2(UNIT))
                m.next = "done"
                with m.If(header.status != Status.DONE):
                    m.d.sync += status.eq(header.status)
                with m.Elif(~possible):
                    m.d.sync += status.eq(Status.BAD_PAGE)
                with m.Elif(~inside):
                    m.d.sync += status.eq(Status.BAD_FIELD)
                with m.Else():
                    m.d.comb += [
                        m.submodules.halves.start.eq(1),
                        m.submodules.page_list.start.eq(1),
                        m.submodules.records.start.eq(header.closed != 0),
                    ]
                    m.next = "work"
            with m.State("work"), m.If((left == 0) & quiet):
                m.next = "done"
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"

    def _connect(self, m: Module, command: data.View) -> None:
        """What comes of the command, and streams from part to part."""
        header, records, pages, halves, engine, division = (
            getattr(m.submodules, name)
            for name in ("header", "records", "page_list", "halves", "engine", "division")
        )
        head, beat, query = header.head, halves.beats, engine.queries.payload
        of_header = ("head", "closed", "newest", "place", "slot")
        m.d.comb += [
            header.position.eq(self.position),
            header.lines.payload.eq(self.commands.payload.head),
            header.block.eq(pages.block),
            records.head.eq(command.head),
            records.count.eq(header.closed),
            pages.last_query.eq(command.queries - 1),
            *(getattr(pages, name).eq(getattr(header, name)) for name in of_header),
            halves.first.eq(command.source >> exact_log2(UNIT)),
            halves.channels.eq(head.channels),
            halves.vectors.eq(command.queries - 1),
            engine.queries.valid.eq(beat.valid),
            beat.ready.eq(engine.queries.ready),
            query.elements.eq(beat.payload.elements),
            query.channels.eq(head.channels),
            query.last.eq(beat.payload.last),
            query.ends.eq(beat.payload.ends),
            engine.scores.ready.eq(1),
            engine.found.ready.eq(1),
        ]
        connect(m, records.records, pages.records)
        connect(m, halves.scratch, flipped(self.scratch_read))
        connect(m, engine.divisors, division.divisors)
        connect(m, engine.sums, division.sums)
        for name in TILE[:5]:
            connect(m, getattr(engine, name), flipped(getattr(self, name)))
        for name in TILE[5:7]:
            connect(m, flipped(getattr(self, name)), getattr(engine, name))
        m.d.comb += self.settled.eq(engine.settled)

    def _read(self, m: Module) -> Value:
        """The header, lines of records and pages share a channel; their words come in the same order.

        Returns whether something has not come whole.
        """
        header, records, pages, engine = (
            getattr(m.submodules, name) for name in ("header", "records", "page_list", "engine")
        )
        shape = attention_page(self.config)
        m.submodules.takers = takers = SyncFIFO(width=Shape.cast(Taker).width, depth=_REQUESTS)
        m.submodules.waiting_pages = waiting = SyncFIFO(width=shape.size, depth=_REQUESTS)
        room = Signal()
        taker = Signal(Taker)
        chosen = Signal(read_request())
        valid = Signal()
        m.d.comb += [
            room.eq((~self.requests.valid | self.requests.ready) & takers.w_rdy),
            takers.w_data.eq(taker),
            takers.w_en.eq(room & valid),
            waiting.w_data.eq(pages.pages.payload.page),
            waiting.w_en.eq(pages.pages.valid & pages.pages.ready),
            engine.pages.payload.eq(waiting.r_data),
            engine.pages.valid.eq(waiting.r_rdy),
            waiting.r_en.eq(engine.pages.ready),
        ]
        with m.If(header.requests.valid):
            m.d.comb += [taker.eq(Taker.HEADER), chosen.eq(header.requests.payload)]
            m.d.comb += [valid.eq(1), header.requests.ready.eq(room)]
        with m.Elif(records.requests.valid):
            m.d.comb += [taker.eq(Taker.RECORDS), chosen.eq(records.requests.payload)]
            m.d.comb += [valid.eq(1), records.requests.ready.eq(room)]
        with m.Else():
            m.d.comb += [taker.eq(Taker.PAGES), chosen.eq(pages.pages.payload.request)]
            m.d.comb += [
                valid.eq(pages.pages.valid & waiting.w_rdy),
                pages.pages.ready.eq(room & waiting.w_rdy),
            ]
        with m.If(room):
            m.d.sync += [self.requests.valid.eq(valid), self.requests.payload.eq(chosen)]
        with m.Elif(self.requests.ready):
            m.d.sync += self.requests.valid.eq(0)

        word = self.words.payload
        oldest = Signal(Taker)
        m.d.comb += [
            oldest.eq(takers.r_data),
            takers.r_en.eq(self.words.valid & self.words.ready & word.last),
            header.words.payload.eq(word),
            records.words.payload.eq(word),
            engine.words.payload.data.eq(word.data),
            engine.words.payload.last.eq(word.last),
        ]
        targets = {Taker.HEADER: header.words, Taker.RECORDS: records.words, Taker.PAGES: engine.words}
        with m.If(takers.r_rdy), m.Switch(oldest):
            for case, target in targets.items():
                with m.Case(case):
                    m.d.comb += [target.valid.eq(self.words.valid), self.words.ready.eq(target.ready)]
        return self.requests.valid | takers.r_rdy

    def _write(self, m: Module, command: data.View, bad: Value, faulty: Value) -> data.View:
        """Outputs to scratch memory, an element at a time; returns whether one comes, and with an error."""
        quotients, port = m.submodules.division.quotients, self.scratch_write
        lanes = self.config.core.lanes
        place_bits = exact_log2(lanes)
        written = Signal(data.StructLayout({"valid": 1, "error": 1}))
        target = Signal(range(self.config.core.scratch))
        begins = Signal(init=1)
        place = Signal.like(target)
        own = Signal(SINGLE_BITS)
        lane = Signal(max(place_bits, 1))
        good = Signal()
        m.d.comb += [
            quotients.ready.eq(1),
            own.eq(single_of_half(quotients.payload.half)),
            written.valid.eq(quotients.valid),
            written.error.eq(quotients.valid & quotients.payload.error),
            place.eq(Mux(begins, command.destination, target)),
            lane.eq(place & lanes - 1),
            good.eq(quotients.valid & ~quotients.payload.error & ~bad & ~faulty),
        ]
        m.d.sync += [port.enables.eq(good << lane), port.address.eq(place >> place_bits)]
        with m.If(quotients.valid):
            m.d.sync += [target.eq(place + 1), begins.eq(0)]
            m.d.sync += Value.cast(port.data).eq(own.replicate(lanes))
        with m.If(self.done.valid):
            m.d.sync += begins.eq(1)
        return written
