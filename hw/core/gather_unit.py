"""Gather unit: a row of a table in memory to scratch memory, as float32.

Meaning: the operation ``GATHER`` of ``golden.core.machine``.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.core.commands import IndexKind, Opcode
from hw.config import Config
from hw.core.float_conversion import single_of_half
from hw.core.payloads import (
    LINE_BITS,
    Status,
    operands,
    read_request,
    read_word,
    scratch_write,
    unit_members,
)

__all__ = ["GatherUnit"]

_HALF, _SINGLE = 16, 32


class GatherUnit(wiring.Component):
    """Bring a row, ``core.lanes`` elements a cycle.

    The row's line takes 16 cycles to work out. Nothing is written to scratch memory where the command is
    refused; where memory fails the row is anything.

    Members:
        commands (in stream), done (out stream): as of every unit.
        token, position (in): of the present sequence.
        requests (out stream), words (in stream): memory.
        scratch_write (out): scratch memory.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                **unit_members(config, Opcode.GATHER),
                "token": In(32),
                "position": In(32),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "scratch_write": Out(scratch_write(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        command = Signal(operands(Opcode.GATHER), reset_less=True)
        row = Signal(LINE_BITS, reset_less=True)
        line = Signal(LINE_BITS, reset_less=True)
        pitch = Signal(16, reset_less=True)
        status = Signal(Status)
        left = Signal(16, reset_less=True)
        asked = self.commands.payload
        m.d.comb += self.done.payload.status.eq(status)
        with m.FSM(name="gathering"):
            with m.State("idle"):
                m.d.comb += self.commands.ready.eq(1)
                m.d.sync += [
                    command.eq(asked),
                    status.eq(Status.DONE),
                    row.eq(
                        Mux(
                            asked.index == IndexKind.TOKEN,
                            self.token,
                            Mux(asked.index == IndexKind.POSITION, self.position, 0),
                        )
                    ),
                    line.eq(asked.table),
                    pitch.eq(asked.pitch),
                    left.eq(asked.elements),
                ]
                with m.If(self.commands.valid):
                    m.next = "multiply"
                    with m.If(self._refused(asked)):
                        m.d.sync += status.eq(Status.BAD_FIELD)
                        m.next = "done"
            with m.State("multiply"):
                m.d.sync += [pitch.eq(pitch >> 1), row.eq(row << 1)]
                with m.If(pitch[0]):
                    m.d.sync += line.eq(line + row)
                with m.If(pitch == 0):
                    m.next = "ask"
            with m.State("ask"):
                self._ask(m, line, command)
                with m.If(self.requests.ready):
                    m.next = "take"
            with m.State("take"):
                self._take(m, command, left, status)
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"
        return m

    def _refused(self, asked: Value) -> Value:
        end = asked.destination + asked.elements
        return (asked.elements == 0) | (end > self.config.core.scratch) | (asked.index > max(IndexKind))

    def _ask(self, m: Module, line: Value, command: Value) -> None:
        request, size = self.requests.payload, self.config.memory_bits // _HALF
        halves = Signal(17)
        m.d.comb += [
            halves.eq(command.elements << command.single),
            self.requests.valid.eq(1),
            request.line.eq(line),
            request.words.eq((halves + (size - 1)) >> exact_log2(size)),
        ]

    def _take(self, m: Module, command: Value, left: Signal, status: Signal) -> None:
        """A word of memory, ``core.lanes`` elements at a time."""
        lanes, word = self.config.core.lanes, self.words.payload
        shifted = Signal(self.config.memory_bits, reset_less=True)
        part = Signal(range(self.config.memory_bits // (_HALF * lanes)))
        address = Signal.like(self.scratch_write.address)
        source = Signal(self.config.memory_bits)
        end = Signal()  # of the elements
        spent = Signal()  # the word has no more
        last_half = self.config.memory_bits // (_HALF * lanes) - 1
        last_single = self.config.memory_bits // (_SINGLE * lanes) - 1
        halves = [source.word_select(lane, _HALF) for lane in range(lanes)]
        singles = [source.word_select(lane, _SINGLE) for lane in range(lanes)]
        writes = self.scratch_write
        m.d.comb += [
            source.eq(Mux(part == 0, word.data, shifted)),
            end.eq(left == lanes),
            spent.eq(end | (part == Mux(command.single, last_single, last_half))),
            self.words.ready.eq(spent | (left == 0) | word.outside | word.failed),
            writes.address.eq((command.destination >> exact_log2(lanes)) + address),
        ]
        for lane, (half, single) in enumerate(zip(halves, singles, strict=True)):
            m.d.comb += writes.data[lane].eq(Mux(command.single, single, single_of_half(half)))
        with m.If(self.words.valid):
            with m.If((left != 0) & ~word.outside):
                step = _HALF * lanes
                m.d.comb += writes.enables.eq(-1)
                m.d.sync += [
                    shifted.eq(Mux(command.single, source >> 2 * step, source >> step)),
                    address.eq(address + 1),
                    left.eq(left - lanes),
                    part.eq(Mux(spent, 0, part + 1)),
                ]
            with m.If(word.outside):
                m.d.sync += status.eq(Status.OUTSIDE)
            with m.Elif(word.failed & (status == Status.DONE)):
                m.d.sync += status.eq(Status.BUS_ERROR)
            with m.If(self.words.ready & word.last):
                m.d.sync += [address.eq(0), part.eq(0)]
                m.next = "done"
