"""Dispatcher: one command at a time to the unit that executes it, and its record when it is complete."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.core.commands import COMMAND_BYTES, Opcode
from hw.config import Config
from hw.core.payloads import Status, done, fetched, operands, record

__all__ = ["UNITS", "Dispatcher"]

UNITS = {opcode: opcode.name.lower() for opcode in Opcode if opcode != Opcode.NOP}
"""What executes: a unit for each operation but NOP, by name."""


class Dispatcher(wiring.Component):
    """Execute commands in order, the next one when the record of the last one is taken.

    A command with ``wait_results`` begins when all writes before it are answered. If one of them was refused,
    by the window or by memory, the next command with ``wait_results`` is not executed; its status says why.

    After an error in a command with ``stop`` nothing is executed until ``restart``.

    Members:
        commands (in stream): as of ``Fetch``.
        UNIT (out streams), UNIT_done (in streams): commands of a unit, and how they ended.
        active (out): a bit for each of ``UNITS``, that of the unit that works, or worked last, is set.
        idle, outside, failed (in): of the write mover.
        restart (in): go on after an error.
        records (out stream): of commands that are complete.
        completed (out): one, for a cycle.
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
        ended = self.records.payload
        write_error = self._write_errors(m)
        m.d.sync += ended.cycles.eq(ended.cycles + 1)
        m.d.comb += [
            ended.id.eq(command.id),
            self.working.eq(1),
        ]
        is_error = (ended.status != Status.DONE) & (ended.status != Status.SKIPPED)
        m.d.comb += ended.interrupt.eq(command.interrupt | is_error)
        with m.FSM(name="dispatching"):
            with m.State("idle"):
                m.d.comb += [self.commands.ready.eq(~self.halted), self.working.eq(0)]
                m.d.sync += [
                    bits.eq(self.commands.payload.bits),
                    ended.status.eq(self.commands.payload.status),
                    ended.bytes.eq(0),
                    ended.cycles.eq(0),
                ]
                with m.If(self.commands.valid & ~self.halted):
                    m.next = "record"
                    with m.If(self.commands.payload.status == Status.DONE):
                        m.next = "settle"
            with m.State("settle"):
                m.d.sync += self.active.eq(Cat(command.opcode == opcode.value for opcode in UNITS))
                with m.If(~command.wait_results | self.idle):
                    m.next = "start"
                    with m.If(command.opcode == Opcode.NOP):
                        m.next = "record"
                    with m.If(command.wait_results & (write_error != Status.DONE)):
                        m.d.sync += [ended.status.eq(write_error), write_error.eq(Status.DONE)]
                        m.next = "record"
            self._units(m, bits)
            with m.State("record"):
                m.d.comb += self.records.valid.eq(1)
                m.d.sync += ended.cycles.eq(ended.cycles)
                with m.If(self.records.ready):
                    m.d.comb += self.completed.eq(1)
                    m.d.sync += self.halted.eq(is_error & command.stop)
                    m.next = "idle"
        with m.If(self.restart):
            m.d.sync += self.halted.eq(0)
        return m

    def _write_errors(self, m: Module) -> Signal:
        """The first refusal of a write that no command has told of."""
        found = Signal(Status, name="write_error")
        with m.If((self.outside | self.failed) & (found == Status.DONE)):
            m.d.sync += found.eq(Mux(self.outside, Status.OUTSIDE, Status.BUS_ERROR))
        return found

    def _units(self, m: Module, bits: Signal) -> None:
        """Give the command to its unit and wait for the end."""
        ended = self.records.payload
        for name in UNITS.values():
            m.d.comb += getattr(self, name).payload.eq(bits)
        with m.State("start"):
            for place, name in enumerate(UNITS.values()):
                m.d.comb += getattr(self, name).valid.eq(self.active[place])
                with m.If(self.active[place] & getattr(self, name).ready):
                    m.next = "work"
        with m.State("work"):
            for place, name in enumerate(UNITS.values()):
                finished = getattr(self, f"{name}_done")
                with m.If(self.active[place]):
                    m.d.comb += finished.ready.eq(1)
                    with m.If(finished.valid):
                        m.d.sync += [
                            ended.status.eq(finished.payload.status),
                            ended.bytes.eq(finished.payload.bytes),
                        ]
                        m.next = "record"
