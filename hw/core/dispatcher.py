"""Dispatcher: commands in order to the units that execute them, and their records when they are complete."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.core.commands import BESIDE, COMMAND_BYTES, Opcode
from hw.config import Config
from hw.core.payloads import Status, done, fetched, is_error, operands, record
from hw.core.record_order import RecordOrder

__all__ = ["UNITS", "Dispatcher"]

UNITS = {opcode: opcode.name.lower() for opcode in Opcode if opcode != Opcode.NOP}
"""What executes: a unit for each operation but NOP, by name."""


class Dispatcher(wiring.Component):
    """Execute commands in order: one at a time, and beside a MATVEC those that say so.

    A command with ``wait_results`` begins when all data that were written before it are answered, but not all
    records. If a write is refused, by the window or by memory, the next command with ``wait_results`` that
    has not begun is not executed; its status says why.

    A MATVEC is left to itself once it has begun. A command with ``beside`` begins as soon as its vector has
    been loaded, if it is one of ``golden.core.commands.BESIDE`` and the results go to scratch memory; every
    other command waits for the end of the MATVEC. Records leave in order (``RecordOrder``).

    After an error in a command with ``stop`` nothing is executed until ``restart``, but for commands with
    ``beside``, so that what happened does not depend on which of two commands ended first.

    Members:
        commands (in stream): as of ``Fetch``.
        UNIT (out streams), UNIT_done (in streams): commands of a unit, and how they ended.
        loaded (in): the MATVEC that is under way has read its vector, and gives its results to scratch
            memory.
        active (out): a bit for each of ``UNITS``, that of the unit whose command began last is set.
        idle (in): the write mover has no data under way.
        outside, failed (in): of the write mover.
        restart (in): go on after an error.
        records (out stream): of commands that are complete.
        completed (out): one's record has left, for a cycle.
        halted (out): an error has stopped it.
        working (out): a command is being executed.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "commands": In(stream.Signature(fetched)),
                **{name: Out(stream.Signature(8 * COMMAND_BYTES)) for name in UNITS.values()},
                **{f"{name}_done": In(stream.Signature(done)) for name in UNITS.values()},
                "loaded": In(1),
                "active": Out(len(UNITS)),
                "idle": In(1),
                "outside": In(1),
                "failed": In(1),
                "restart": In(1),
                "records": Out(stream.Signature(record)),
                "completed": Out(1),
                "halted": Out(1),
                "working": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(8 * COMMAND_BYTES, name="command", reset_less=True)
        command = data.View(operands(Opcode.NOP), bits)
        m.submodules.order = order = RecordOrder()
        ended = order.ended.payload
        held = Signal(done, name="held")
        stops = Signal()  # with an error
        failed = is_error(held.status)
        multiplies, product_stops = self._multiply(m, command, order)
        write_error = self._write_errors(m)
        cycles = Signal(ended.cycles.shape())
        m.d.sync += cycles.eq(cycles + 1)
        m.d.comb += [
            ended.id.eq(command.id),
            ended.status.eq(held.status),
            ended.bytes.eq(held.bytes),
            ended.cycles.eq(cycles),
            ended.interrupt.eq(command.interrupt | failed),
            self.completed.eq(self.records.valid & self.records.ready),
        ]
        connect(m, order.records, flipped(self.records))
        offered = data.View(operands(Opcode.NOP), self.commands.payload.bits)
        goes = self._may_begin(m, command, multiplies)
        with m.FSM(name="dispatching") as machine:
            with m.State("idle"):
                self._take(m, bits, held, cycles, ~self.halted | offered.beside)
            with m.State("settle"), m.If(goes):
                m.next = "record"
                with m.If(held.status == Status.DONE):
                    m.d.sync += self.active.eq(Cat(command.opcode == opcode.value for opcode in UNITS))
                    with m.If(command.opcode != Opcode.NOP):
                        m.next = "start"
                    with m.If(command.wait_results & (write_error != Status.DONE)):
                        m.d.sync += [held.status.eq(write_error), write_error.eq(Status.DONE)]
                        m.next = "record"
            self._units(m, bits, held, order.none)
            with m.State("record"):
                m.d.comb += order.ended.valid.eq(1)
                m.d.sync += cycles.eq(cycles)
                with m.If(order.ended.ready):
                    m.d.comb += stops.eq(failed & command.stop)
                    m.next = "idle"
                    with m.If(~failed):
                        self._take(m, bits, held, cycles, ~self.halted | offered.beside)
        m.d.comb += self.working.eq(~machine.ongoing("idle") | ~order.none)
        with m.If(self.restart):
            m.d.sync += self.halted.eq(0)
        with m.Elif(stops | product_stops):
            m.d.sync += self.halted.eq(1)
        return m

    def _take(self, m: Module, bits: Signal, held: data.View, cycles: Value, may: Value) -> None:
        """The next command, if it is there."""
        m.d.comb += self.commands.ready.eq(may)
        with m.If(self.commands.valid & may):
            m.d.sync += [
                bits.eq(self.commands.payload.bits),
                held.status.eq(self.commands.payload.status),
                held.bytes.eq(0),
                cycles.eq(0),
            ]
            m.next = "settle"

    def _may_begin(self, m: Module, command: data.View, multiplies: Value) -> Signal:
        """Whether the command in hand may begin; one that is not to be executed is complete then."""
        overlaps = Signal()
        goes = Signal(name="may_begin")
        m.d.comb += [
            overlaps.eq(command.beside & Cat(command.opcode == opcode.value for opcode in BESIDE).any()),
            goes.eq(
                (~multiplies | (overlaps & self.loaded))
                & (~self.halted | command.beside)
                & (~command.wait_results | self.idle)
            ),
        ]
        return goes

    def _multiply(self, m: Module, command: data.View, order: RecordOrder) -> tuple[Signal, Signal]:
        """A MATVEC that is left to itself.

        Returns:
            That nothing, or only what may work beside it, may begin; and that it stops what follows.
        """
        multiplies = Signal()
        stop = Signal(name="product_stop")
        stops = Signal(name="product_stops")
        ended, own = self.matvec_done, Signal(record, name="product")
        waits = Signal(name="product_waits")
        failed = is_error(ended.payload.status)
        m.d.sync += own.cycles.eq(own.cycles + multiplies)
        m.d.comb += [
            order.begins.eq(self.matvec.valid & self.matvec.ready),
            order.product.valid.eq(waits),
            order.product.payload.eq(own),
            ended.ready.eq(1),
            stops.eq(ended.valid & failed & stop),
        ]
        with m.If(order.begins):
            m.d.sync += [
                multiplies.eq(1),
                stop.eq(command.stop),
                own.interrupt.eq(command.interrupt),
                own.id.eq(command.id),
                own.cycles.eq(0),
            ]
        with m.If(ended.valid):
            m.d.sync += [
                multiplies.eq(0),
                waits.eq(1),
                own.status.eq(ended.payload.status),
                own.bytes.eq(ended.payload.bytes),
                own.interrupt.eq(own.interrupt | failed),
            ]
        with m.Elif(order.product.ready):
            m.d.sync += waits.eq(0)
        return multiplies, stops

    def _write_errors(self, m: Module) -> Signal:
        """The first refusal of a write that no command has told of."""
        found = Signal(Status, name="write_error")
        with m.If((self.outside | self.failed) & (found == Status.DONE)):
            m.d.sync += found.eq(Mux(self.outside, Status.OUTSIDE, Status.BUS_ERROR))
        return found

    def _units(self, m: Module, bits: Signal, held: data.View, none: Value) -> None:
        """Give the command to its unit and wait for the end, but for that of a MATVEC."""
        matvec = UNITS[Opcode.MATVEC]
        for name in UNITS.values():
            m.d.comb += getattr(self, name).payload.eq(bits)
        with m.State("start"):
            for place, name in enumerate(UNITS.values()):
                unit = getattr(self, name)
                m.d.comb += unit.valid.eq(self.active[place] & (none if name == matvec else 1))
                with m.If(unit.valid & unit.ready):
                    m.next = "idle" if name == matvec else "work"
        with m.State("work"):
            for place, name in enumerate(UNITS.values()):
                if name == matvec:
                    continue
                finished = getattr(self, f"{name}_done")
                with m.If(self.active[place]):
                    m.d.comb += finished.ready.eq(1)
                    with m.If(finished.valid):
                        m.d.sync += held.eq(finished.payload)
                        m.next = "record"
