"""Close: the oldest page of a KV head's window becomes a page of the cache, if it is due.

Meaning: ``golden.core.kv.close``.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from golden.core.commands import UNIT, Opcode
from hw.config import Config
from hw.core.kv_header import KvHeader, first_fault, top_of
from hw.core.line_writes import LineWrites
from hw.core.page_list import assign_format
from hw.core.payloads import LINE_BITS, Status, operands, read_request, read_word, unit_members, write_request
from hw.core.record_feed import RecordFeed, page_fields
from hw.kv.page_closer import PageCloser
from hw.kv.page_shape import is_legal
from hw.kv.payloads import HALF_BITS, page_format

__all__ = ["CloseUnit"]


class CloseUnit(wiring.Component):
    """Close a page of one KV head and side.

    Header, record and copy are read before anything is written; nothing is, where something is wrong with
    them. The header's ``top`` is the last thing that is written. ``hw.kv.page_closer`` says how long the
    rest takes.

    Members:
        commands (in stream), done (out stream): a command is taken when the one before is done.
        position (in): of the present token, stable while a command works.
        requests (out stream), words (in stream): channel that reads memory.
        writes (out stream): words of memory.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                **unit_members(config, Opcode.CLOSE),
                "position": In(32),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "writes": Out(stream.Signature(write_request(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.header = header = KvHeader(config)
        m.submodules.records = records = RecordFeed(config)
        m.submodules.closer = PageCloser(config)
        m.submodules.lines = lines = LineWrites(config)
        command = Signal(operands(Opcode.CLOSE))
        due = Signal(32)  # the position at which attention reads the page
        m.d.sync += due.eq(self.position + command.ahead)
        record = Signal(page_fields())
        form = Signal(page_format(config))
        bits = Signal(16)
        ended = self.done.payload
        status = Signal(Status)
        m.d.comb += [
            header.position.eq(due),
            header.lines.payload.eq(self.commands.payload.head),
            header.block.eq(header.closed - 1),
            records.head.eq(command.head),
            records.first.eq(header.closed - 1),
            records.count.eq(1),
            records.stop.eq(status != Status.DONE),
            bits.eq(Mux(command.side, record.value_format, record.key_format)),
            *assign_format(form, bits, command.side, header.head.channels),
            ended.status.eq(status),
        ]
        connect(m, lines.writes, flipped(self.writes))
        self._close(m, command, record, form, status)
        first_fault(m, status, self.words.payload, self.words.valid & self.words.ready)
        self._control(m, command, record, form, status)
        return m

    def _control(
        self, m: Module, command: data.View, record: data.View, form: data.View, status: Signal
    ) -> None:
        """Step after step of a command."""
        header, records, closer, lines = (
            getattr(m.submodules, name) for name in ("header", "records", "closer", "lines")
        )
        ended, size = self.done.payload, self.config.memory_bits // 8
        written = Signal(16)  # words
        with m.If(lines.words.valid & lines.words.ready):
            m.d.sync += written.eq(written + 1)
        refused = Signal()  # a copy of another length
        discarded = Signal()
        m.d.comb += [
            refused.eq(closer.error_format | closer.error_short | closer.error_long),
            discarded.eq(closer.words.valid & closer.words.payload.last & (status != Status.DONE)),
        ]
        with m.FSM() as machine:
            with m.State("idle"):
                m.d.comb += [self.commands.ready.eq(1), header.lines.valid.eq(self.commands.valid)]
                m.d.sync += [command.eq(self.commands.payload), status.eq(Status.DONE)]
                m.d.sync += [ended.bytes.eq(0), written.eq(0)]
                with m.If(self.commands.valid):
                    m.next = "header"
            with m.State("header"), m.If(header.finished):
                m.d.sync += status.eq(header.status)
                m.next = "done"
                with m.If((header.status == Status.DONE) & header.due):
                    m.d.comb += records.start.eq(1)
                    m.next = "record"
            with m.State("record"):
                m.d.comb += records.records.ready.eq(1)
                with m.If(records.records.valid):
                    m.d.sync += record.eq(records.records.payload)
                with m.If(records.idle):
                    m.next = "done"
                    with m.If(status == Status.DONE):
                        m.next = "check"
            with m.State("check"):
                m.next = "copy"
                with m.If(~is_legal(form, self.config)):
                    m.d.sync += status.eq(Status.BAD_PAGE)
                    m.next = "done"
            with m.State("copy"), m.If(self.requests.ready):
                m.next = "format"
            with m.State("format"):
                m.d.comb += closer.formats.valid.eq(1)
                with m.If(closer.formats.ready):
                    m.next = "page"
            with m.State("page"):
                with m.If(lines.finished):
                    m.d.sync += ended.bytes.eq((written << exact_log2(size)) + 1)
                with m.If(refused & (status == Status.DONE)):
                    m.d.sync += status.eq(Status.BAD_PAGE)
                with m.If(lines.finished | refused | discarded):
                    m.next = "done"
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"
        self._read(m, machine.ongoing("record"), machine.ongoing("copy"), machine.ongoing("page"))

    def _read(self, m: Module, of_record: Value, asks: Value, of_copy: Value) -> None:
        """The channel of memory serves the header, a record and the copy, one after the other."""
        header, records, closer = (getattr(m.submodules, name) for name in ("header", "records", "closer"))
        word, head, side = self.words.payload, header.head, m.submodules.lines.side
        copy = Signal(LINE_BITS)
        unit = self.config.kv.page_tokens * UNIT * HALF_BITS  # bits of 16 channels
        m.d.sync += copy.eq(header.slot + Mux(side, head.value_copy, head.key_copy))
        m.d.comb += [
            self.requests.payload.eq(header.requests.payload),
            self.requests.valid.eq(header.requests.valid),
            self.words.ready.eq(header.words.ready),
            header.requests.ready.eq(self.requests.ready),
            *(part.payload.eq(word) for part in (header.words, records.words)),
            closer.copies.payload.data.eq(word.data),
            closer.copies.payload.last.eq(word.last),
            header.words.valid.eq(self.words.valid & ~of_record & ~of_copy),
        ]
        with m.If(of_record):
            m.d.comb += [
                self.requests.payload.eq(records.requests.payload),
                self.requests.valid.eq(records.requests.valid),
                records.requests.ready.eq(self.requests.ready),
                records.words.valid.eq(self.words.valid),
                self.words.ready.eq(records.words.ready),
            ]
        with m.If(asks):
            m.d.comb += [
                self.requests.payload.line.eq(copy),
                self.requests.payload.words.eq(head.channels * (unit // self.config.memory_bits)),
                self.requests.valid.eq(1),
            ]
        with m.If(of_copy):
            m.d.comb += [
                closer.copies.valid.eq(self.words.valid),
                self.words.ready.eq(closer.copies.ready),
            ]

    def _close(
        self, m: Module, command: data.View, record: data.View, form: data.View, status: Value
    ) -> None:
        """The page's words to memory, or nowhere after a fault."""
        closer, lines = m.submodules.closer, m.submodules.lines
        source, target = closer.words, lines.words
        word = Signal(16)
        good = status == Status.DONE
        m.d.comb += [
            closer.formats.payload.form.eq(form),
            closer.formats.payload.top.eq(top_of(m.submodules.header.head, command.side)),
            lines.head.eq(command.head),
            lines.side.eq(command.side),
            target.valid.eq(source.valid & good),
            source.ready.eq(target.ready | ~good),
            target.payload.line.eq(Mux(command.side, record.values, record.keys)),
            target.payload.word.eq(word),
            target.payload.data.eq(source.payload.data),
            target.payload.enables.eq(-1),
            target.payload.last.eq(source.payload.last),
            target.payload.top.eq(source.payload.top),
        ]
        with m.If(source.valid & source.ready):
            m.d.sync += word.eq(Mux(source.payload.last, 0, word + 1))
