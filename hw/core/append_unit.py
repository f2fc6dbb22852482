"""Append: a key or a value from scratch memory to a sequence's window in memory.

Meaning: ``golden.core.kv.append``.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from golden.core.commands import UNIT, Opcode
from hw.config import Config
from hw.core.kv_header import KvHeader, top_of
from hw.core.line_writes import LineWrites
from hw.core.payloads import (
    LINE_BITS,
    Status,
    operands,
    read_request,
    read_word,
    scratch_read,
    unit_members,
    write_request,
)
from hw.core.scratch_halves import ScratchHalves, fits
from hw.kv.appending.token import GROUP
from hw.kv.payloads import WindowPage
from hw.kv.token_writer import TokenWriter

__all__ = ["AppendUnit"]


class AppendUnit(wiring.Component):
    """Append a vector of one KV head and side.

    The header is read first; nothing is written unless it is as it should be. The header's ``top`` is the
    last thing that is written. ``hw.kv.token_writer`` says how long the rest takes.

    Members:
        commands (in stream), done (out stream): a command is taken when the one before is done.
        position (in): of the token, stable while a command works.
        scratch: port of scratch memory.
        requests (out stream), words (in stream): channel that reads memory.
        writes (out stream): bytes of memory.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                **unit_members(config, Opcode.APPEND),
                "position": In(32),
                "scratch_read": Out(scratch_read(config)),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "writes": Out(stream.Signature(write_request(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.header = header = KvHeader(config)
        m.submodules.halves = halves = ScratchHalves(config, config.kv.lanes)
        m.submodules.writer = writer = TokenWriter(config)
        m.submodules.lines = lines = LineWrites(config)
        command = Signal(operands(Opcode.APPEND))
        head, ended = header.head, self.done.payload
        in_scratch = Signal()
        connect(m, header.requests, flipped(self.requests))
        connect(m, flipped(self.words), header.words)
        connect(m, halves.scratch, flipped(self.scratch_read))
        connect(m, lines.writes, flipped(self.writes))
        m.d.comb += [
            header.position.eq(self.position),
            header.block.eq(header.newest),
            header.lines.payload.eq(self.commands.payload.head),
            halves.first.eq(command.source >> exact_log2(UNIT)),
            halves.channels.eq(head.channels),
            in_scratch.eq(fits(config, command.source >> exact_log2(UNIT), head.channels)),
        ]
        self._write(m, command)
        status = header.status
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.commands.ready.eq(1), header.lines.valid.eq(self.commands.valid)]
                m.d.sync += [command.eq(self.commands.payload), ended.bytes.eq(0)]
                with m.If(self.commands.valid):
                    m.next = "header"
            with m.State("header"), m.If(header.finished):
                m.d.sync += ended.status.eq(status)
                m.next = "done"
                with m.If(status == Status.DONE):
                    m.next = "token"
                    with m.If(~in_scratch):
                        m.d.sync += ended.status.eq(Status.BAD_FIELD)
                        m.next = "done"
            with m.State("token"):
                m.d.comb += [writer.tokens.valid.eq(1), halves.start.eq(writer.tokens.ready)]
                with m.If(writer.tokens.ready):
                    m.next = "write"
            with m.State("write"), m.If(lines.finished):
                # A copy, codes, their scales and minima, and ``top``.
                m.d.sync += ended.bytes.eq(head.channels * (3 * UNIT + 4 * UNIT // GROUP) + 1)
                m.next = "done"
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"
        return m

    def _write(self, m: Module, command: data.View) -> None:
        """A token's elements to the writer, its bytes to memory."""
        header, halves, writer, lines = (
            getattr(m.submodules, name) for name in ("header", "halves", "writer", "lines")
        )
        head, write, record = header.head, writer.writes.payload, writer.tokens.payload
        coded, copy = (Signal(LINE_BITS, name=name) for name in ("coded", "copy"))
        m.d.sync += [
            coded.eq(header.slot + Mux(command.side, head.coded_values, 0)),
            copy.eq(header.slot + Mux(command.side, head.value_copy, head.key_copy)),
        ]
        m.d.comb += [
            Value.cast(record.side).eq(command.side),
            record.channels.eq(head.channels),
            record.place.eq(header.place),
            record.top.eq(top_of(head, command.side)),
            writer.elements.valid.eq(halves.beats.valid),
            halves.beats.ready.eq(writer.elements.ready),
            Value.cast(writer.elements.payload.elements).eq(Value.cast(halves.beats.payload.elements)),
            writer.elements.payload.last.eq(halves.beats.payload.last),
            lines.head.eq(command.head),
            lines.side.eq(command.side),
            lines.words.valid.eq(writer.writes.valid),
            writer.writes.ready.eq(lines.words.ready),
            lines.words.payload.line.eq(Mux(write.page == WindowPage.COPY, copy, coded)),
            lines.words.payload.word.eq(write.word),
            lines.words.payload.data.eq(write.data),
            lines.words.payload.enables.eq(write.enables),
            lines.words.payload.last.eq(write.last),
            lines.words.payload.top.eq(write.top),
        ]
