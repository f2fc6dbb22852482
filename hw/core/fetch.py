"""Fetch: commands from the ring in memory, checked and decided, in order, ahead of the one that executes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.core.commands import COMMAND_BYTES, COMMON, OPERATIONS, Opcode, Operation, encode
from hw.config import Config
from hw.core.payloads import (
    LINE_BITS,
    Status,
    fetched,
    operands,
    read_request,
    read_word,
    words_of_line,
)
from hw.core.record_order import WAITING_RECORDS

__all__ = ["GIVEN", "Fetch"]

_BITS = 8 * COMMAND_BYTES
GIVEN = WAITING_RECORDS + 4
"""Commands that are given out and not complete, at most."""
_UNREADABLE = int.from_bytes(encode(Opcode.NOP, interrupt=1, stop=1), "little")
"""What stands for a command that could not be read."""


class _Step(enum.Enum):
    """What happens to the command in hand: its words come, it is looked at, decided, given out."""

    COLLECT = 0
    CHECK = 1
    DECIDE = 2
    GIVE = 3


def _owned(operation: Operation) -> int:
    """Bits of a command that a field of the operation owns."""
    bits = 0
    for field in (*COMMON, *operation.fields):
        bits |= field.mask << 32 * field.word
    return bits


def _below_units(operation: Operation) -> int:
    """Bits that are zero in values which are multiples of their units."""
    bits = 0
    for field in (*COMMON, *operation.fields):
        bits |= field.unit - 1 << 32 * field.word + field.low
    return bits


class Fetch(wiring.Component):
    """Commands of the ring, in order, and the weights that they will need.

    The ring has ``size`` commands, a line each, from ``line`` on, and is walked round and round. ``tail``
    counts the commands that were ever given, modulo 2^32; where it is further ahead of those asked for than
    ``size``, there are none. The ring is read as far as the FIFO of
    the read mover goes, whatever executes.

    A command is looked at by itself (``golden.core.commands.problem``), then ``mask`` and ``phase`` are
    compared with ``position``, and ``unprompted`` with ``prompted``; the status that comes with it says
    whether it is to be executed. One that could not be read is NOP with the flags ``interrupt`` and ``stop``,
    and status ``OUTSIDE`` or ``BUS_ERROR``. One command waits on ``commands``, and the one behind it is
    decided meanwhile; at most ``GIVEN`` that were given out are not complete. After a BEGIN or an ADVANCE
    that is to be executed none is decided until every command given out is complete.

    The packet of a MATVEC that is to be executed is asked for as soon as it is decided: before the commands
    in front of it are complete, and in their order. A command is given out four cycles after its last word
    came, if nothing holds it up.

    Args:
        config: gives ``memory_bits``.

    Members:
        enable (in): ask for commands of the ring.
        line, size (in): of the ring, constant while enabled and afterwards.
        tail (in): commands given so far, modulo 2^32.
        position, prompted (in): of the sequence, as they are when a BEGIN or ADVANCE completes.
        completed (in): the oldest command given out is complete, for a cycle, behind its acceptance.
        requests (out stream), words (in stream): a client of the read mover.
        commands (out stream): see ``fetched``.
        weights (out stream): packets.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "enable": In(1),
                "line": In(LINE_BITS),
                "size": In(32),
                "tail": In(32),
                "position": In(32),
                "prompted": In(1),
                "completed": In(1),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "commands": Out(stream.Signature(fetched)),
                "weights": Out(stream.Signature(read_request())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(_BITS)
        status = Signal(Status)
        step = Signal(_Step)
        self._ask(m)
        with m.Switch(step):
            with m.Case(_Step.COLLECT):
                self._collect(m, step, bits, status)
            with m.Case(_Step.CHECK):
                m.d.sync += step.eq(_Step.DECIDE)
        problem = self._problem(m, bits)
        self._decide(m, step, bits, status, problem)
        return m

    def _ask(self, m: Module) -> None:
        """Ask for the commands of the ring up to the tail."""
        index = Signal(32)
        count = Signal(32)
        ahead = Signal(32)
        behind = Signal(32)
        request = self.requests.p
        m.d.comb += [
            ahead.eq(self.tail - count),
            behind.eq(index + 1),
            request.words.eq(words_of_line(self.config)),
        ]
        with m.If(self.requests.ready):
            m.d.sync += self.requests.valid.eq(0)
        free = ~self.requests.valid | self.requests.ready
        with m.If(free & self.enable & (ahead != 0) & (ahead <= self.size)):
            m.d.sync += [
                count.eq(count + 1),
                self.requests.valid.eq(1),
                request.line.eq(self.line + index),
                index.eq(Mux(behind == self.size, 0, behind)),
            ]

    def _collect(self, m: Module, step: Signal, bits: Signal, status: Signal) -> None:
        """Shift the words of a command in."""
        word = self.words.p
        width = self.config.memory_bits
        lost = Signal(Status)
        m.d.comb += self.words.ready.eq(1)
        with m.If(word.outside):
            m.d.comb += lost.eq(Status.OUTSIDE)
        with m.Elif(word.failed | (status != Status.DONE)):
            m.d.comb += lost.eq(Status.BUS_ERROR)
        with m.If(self.words.valid):
            m.d.sync += [bits.eq(Cat(bits, word.data)[width:]), status.eq(lost)]
            with m.If(word.last):
                m.d.sync += step.eq(_Step.CHECK)
                with m.If(lost != Status.DONE):
                    m.d.sync += bits.eq(_UNREADABLE)

    def _problem(self, m: Module, bits: Signal) -> Signal:
        """What ``golden.core.commands.problem`` finds, two cycles after the command came."""
        opcode = Signal(8)
        found = Signal(Status, init=Status.BAD_OPCODE)
        m.d.comb += opcode.eq(bits[:8])
        reserved, uneven = (Signal(len(OPERATIONS), name=name) for name in ("reserved", "uneven"))
        owned = [_owned(operation) for operation in OPERATIONS]
        below = [_below_units(operation) for operation in OPERATIONS]
        m.d.sync += [
            reserved.eq(Cat((bits & ~Const(own, _BITS)).any() for own in owned)),
            uneven.eq(Cat((bits & Const(low, _BITS)).any() for low in below)),
        ]
        with m.Switch(opcode):
            for place, operation in enumerate(OPERATIONS):
                with m.Case(operation.opcode.value):
                    with m.If(reserved[place]):
                        m.d.comb += found.eq(Status.RESERVED)
                    with m.Elif(uneven[place]):
                        m.d.comb += found.eq(Status.BAD_FIELD)
                    with m.Else():
                        m.d.comb += found.eq(Status.DONE)
        return found

    def _decide(self, m: Module, step: Signal, bits: Signal, status: Signal, problem: Signal) -> None:
        """Decide when the position is known, then give the command and its packet out."""
        view = data.View(operands(Opcode.MATVEC), bits)
        fits = Signal()
        moves = Signal()
        unsettled = Signal()
        asks = Signal()
        asked = Signal()
        gives = Signal()
        goes = Signal()
        incomplete = Signal(range(GIVEN + 1))
        m.d.sync += incomplete.eq(incomplete + gives - self.completed)
        m.d.comb += [
            fits.eq(((self.position[:16] & view.mask) == view.phase) & ~(view.unprompted & self.prompted)),
            moves.eq((view.opcode == Opcode.BEGIN.value) | (view.opcode == Opcode.ADVANCE.value)),
        ]
        free = ~self.commands.valid | self.commands.ready
        may_ask = ~self.weights.valid | self.weights.ready
        executes = status == Status.DONE
        with m.If((step == _Step.DECIDE) & ~unsettled):
            m.d.sync += step.eq(_Step.GIVE)
            with m.If(executes):
                m.d.sync += status.eq(
                    Mux(problem != Status.DONE, problem, Mux(fits, Status.DONE, Status.SKIPPED))
                )
        with m.If(self.weights.ready):
            m.d.sync += self.weights.valid.eq(0)
        with m.If(self.commands.ready):
            m.d.sync += self.commands.valid.eq(0)
        with m.If(step == _Step.GIVE):
            m.d.comb += [
                asks.eq(executes & (view.opcode == Opcode.MATVEC.value) & ~asked),
                goes.eq(asks & may_ask),
                gives.eq(free & (incomplete != GIVEN) & (~asks | may_ask)),
            ]
        with m.If(goes):
            m.d.sync += [
                asked.eq(1),
                self.weights.valid.eq(1),
                self.weights.p.line.eq(view.packet),
                self.weights.p.words.eq(view.words),
            ]
        with m.If(gives):
            m.d.sync += [
                step.eq(_Step.COLLECT),
                asked.eq(0),
                status.eq(Status.DONE),
                self.commands.valid.eq(1),
                self.commands.p.bits.eq(bits),
                self.commands.p.status.eq(status),
            ]
        with m.If(gives & executes & moves):
            m.d.sync += unsettled.eq(1)
        with m.Elif(incomplete == 0):
            m.d.sync += unsettled.eq(0)
