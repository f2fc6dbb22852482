"""Attend: attention of queries in scratch memory on the pages and the windows of KV heads in memory.

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
    """Attend with the queries of KV heads, one after the other; the array is outside.

    Pages are asked for as early as their channel takes it. All queries of a head are read before its first
    output is written, which is when every page of it has come; none is written if something was wrong, and
    none of heads behind it. The next head's header, queries and pages are read meanwhile.

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
        most = config.kv.queries * config.kv.channels
        self.command = Signal(operands(Opcode.ATTEND))
        """Its heads are those to come, the present one included."""
        places = len(self.command.source) - exact_log2(UNIT) + 1
        self.source = Signal(places)
        self.destination = Signal(places)
        """Of the present head, in times of 16."""
        self.status = Signal(Status)
        self.bad = Signal()
        """A page of the present head was."""
        self.units = Signal(bits_for(most // UNIT))
        """Outputs of the present head in times of 16."""
        self.left = Signal(range(2 * most + 1))
        """Outputs to come."""
        self.own = Signal(range(most + 1))
        """Those of the present head, all of them."""
        self.is_own = Signal()
        """The output that comes is one of these."""
        self.fails = Signal()
        """The present head has failed, as far as is known."""
        self.turns = Signal()
        """The head whose header has come becomes the present one."""
        self.begins = Signal()
        """Its header is as it should be."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.header = KvHeader(config)
        m.submodules.records = RecordFeed(config)
        m.submodules.page_list = PageList(config)
        m.submodules.halves = ScratchHalves(config, config.activation_lanes)
        m.submodules.engine = Engine(config)
        m.submodules.division = Division(config)
        self._connect(m)
        asked, taken = self._read(m)
        good = Signal()  # so far, for the output that comes
        written = self._write(m, good)
        self._count(m, written.valid)
        self._control(m, asked)
        self._judge(m, taken, written.error, good)
        return m

    def _count(self, m: Module, written: Value) -> None:
        """Outputs to come, and whose."""
        size = self.units << exact_log2(UNIT)
        m.d.comb += self.is_own.eq(self.left <= self.own)
        m.d.sync += [
            self.units.eq(m.submodules.header.head.channels * self.command.queries),
            self.left.eq(self.left + Mux(self.begins, size, 0) - written),
        ]
        with m.If(self.turns):
            m.d.sync += self.own.eq(0)
        with m.If(self.begins):
            m.d.sync += self.own.eq(size)

    def _judge(self, m: Module, taken: Value, error: Value, good: Signal) -> None:
        """What was wrong with memory, with pages, and with which head; ``taken``: a word that is no header's.

        Outputs of a head never come before the last of its words; those of two heads at most are to come.
        """
        pages = m.submodules.page_list
        first_fault(m, self.status, self.words.payload, taken)
        faulty = Signal()  # the present head's header, or memory
        bad_before = Signal()  # a page of a head ahead of the present one
        m.d.comb += [
            faulty.eq(self.status != Status.DONE),
            m.submodules.records.stop.eq(faulty),
            pages.stop.eq(faulty),
            self.fails.eq(self.bad | faulty),
            good.eq(~bad_before & ~(self.is_own & self.fails)),
            self.done.payload.status.eq(Mux(bad_before | (self.bad & ~faulty), Status.BAD_PAGE, self.status)),
        ]
        m.d.sync += [
            self.bad.eq(self.bad | pages.bad | (error & self.is_own)),
            bad_before.eq(bad_before | (error & ~self.is_own)),
        ]
        with m.If(self.turns):
            m.d.sync += [self.bad.eq(0), bad_before.eq(bad_before | self.bad | error)]
        with m.If(self.commands.ready):
            m.d.sync += [self.bad.eq(0), bad_before.eq(0)]

    def _control(self, m: Module, asked: Value) -> None:
        """Step after step of a command.

        The next head's header is asked for behind the present head's last page, so that it comes behind all
        its words. That head is the present one when all outputs of the head before have come.
        """
        command, header, halves = self.command, m.submodules.header, m.submodules.halves
        records, pages = m.submodules.records, m.submodules.page_list
        queried = Signal()  # the present head's queries have been taken
        m.d.comb += [
            *(part.start.eq(self.begins) for part in (halves, pages)),
            records.start.eq(self.begins & (header.closed != 0)),
            header.lines.payload.eq(command.head),
        ]
        beat = halves.beats
        with m.If(beat.valid & beat.ready & beat.payload.last & beat.payload.ends):
            m.d.sync += queried.eq(1)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.commands.ready.eq(1)
                m.d.sync += [command.eq(self.commands.payload), self.status.eq(Status.DONE)]
                m.d.sync += [
                    each.eq(self.commands.payload[name] >> exact_log2(UNIT))
                    for name, each in (("source", self.source), ("destination", self.destination))
                ]
                with m.If(self.commands.valid):
                    m.next = "ask"
            with m.State("ask"):
                m.d.comb += header.lines.valid.eq(1)
                m.next = "header"
            with m.State("header"), m.If(header.finished):
                m.next = "turn"
            with m.State("turn"):
                with m.If(self.fails):
                    m.next = "outputs"
                with m.Elif(self.is_own):
                    m.d.comb += self.turns.eq(1)
                    m.next = "check"
            with m.State("check"):
                m.next = "outputs"
                self._check(m)
                with m.If(self.begins):
                    m.d.sync += queried.eq(0)
                    m.next = "work"
            with m.State("work"), m.If(queried & records.idle & pages.idle):
                m.next = "rest"
                with m.If(~self.fails & (command.heads != 1)):
                    m.d.sync += self._following()
                    m.next = "ask"
            with m.State("rest"), m.If(~asked):
                m.next = "outputs"
            with m.State("outputs"), m.If(self.left == 0):
                m.next = "done"
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"

    def _check(self, m: Module) -> None:
        """Begin with a head whose header has come, or say why not."""
        config, command, header = self.config, self.command, m.submodules.header
        possible = (command.queries != 0) & (command.queries <= config.kv.queries) & (command.heads != 0)
        inside = fits(config, self.source, self.units) & fits(config, self.destination, self.units)
        with m.If(header.status != Status.DONE):
            m.d.sync += self.status.eq(header.status)
        with m.Elif(~possible):
            m.d.sync += self.status.eq(Status.BAD_PAGE)
        with m.Elif(~inside):
            m.d.sync += self.status.eq(Status.BAD_FIELD)
        with m.Else():
            m.d.comb += self.begins.eq(1)

    def _following(self) -> list[object]:
        """The command as it is for the next head."""
        command = self.command
        return [
            command.head.eq(command.head + command.pitch),
            command.heads.eq(command.heads - 1),
            self.source.eq(self.source + self.units),
            self.destination.eq(self.destination + self.units),
        ]

    def _connect(self, m: Module) -> None:
        """What comes of the command, and streams from part to part."""
        command = self.command
        header, records, pages, halves, engine, division = (
            getattr(m.submodules, name)
            for name in ("header", "records", "page_list", "halves", "engine", "division")
        )
        head, beat, query = header.head, halves.beats, engine.queries.payload
        of_header = ("head", "closed", "newest", "place", "slot")
        m.d.comb += [
            header.position.eq(self.position),
            header.block.eq(pages.block),
            records.head.eq(command.head),
            records.count.eq(header.closed),
            pages.last_query.eq(command.queries - 1),
            *(getattr(pages, name).eq(getattr(header, name)) for name in of_header),
            halves.first.eq(self.source),
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

    def _read(self, m: Module) -> tuple[Value, Value]:
        """The header, lines of records and pages share a channel; their words come in the same order.

        Returns whether something has not come whole, and whether a word is taken that is no header's.
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
        taken = self.words.valid & self.words.ready & (oldest != Taker.HEADER)
        return self.requests.valid | takers.r_rdy, taken

    def _write(self, m: Module, good: Value) -> data.View:
        """Outputs to scratch memory, an element at a time; returns whether one comes, and with an error."""
        quotients, port = m.submodules.division.quotients, self.scratch_write
        lanes = self.config.core.lanes
        place_bits = exact_log2(lanes)
        written = Signal(data.StructLayout({"valid": 1, "error": 1}))
        target = Signal(range(self.config.core.scratch))
        own = Signal(SINGLE_BITS, name="output")
        lane = Signal(max(place_bits, 1))
        m.d.comb += [
            quotients.ready.eq(1),
            own.eq(single_of_half(quotients.payload.half)),
            written.valid.eq(quotients.valid),
            written.error.eq(quotients.valid & quotients.payload.error),
            lane.eq(target & lanes - 1),
        ]
        writes = quotients.valid & ~quotients.payload.error & good
        m.d.sync += [port.enables.eq(writes << lane), port.address.eq(target >> place_bits)]
        with m.If(quotients.valid):
            m.d.sync += target.eq(target + 1)
            m.d.sync += Value.cast(port.data).eq(own.replicate(lanes))
        with m.If(self.commands.ready):
            m.d.sync += target.eq(self.commands.payload.destination)
        return written
