"""Properties of the dispatcher: a record for every command, in order; what begins beside a MATVEC."""

from amaranth.hdl import Assert, Assume, Module, ResetSignal, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In

from golden.core.commands import BESIDE, Opcode
from hw.config import Config
from hw.core.dispatcher import UNITS, Dispatcher
from hw.core.payloads import done, fetched, operands
from sim.proofs.accesses import Stays
from sim.proofs.attention import InOrder

__all__ = ["CommandsRecorded"]


class CommandsRecorded(wiring.Component):
    """What becomes of commands.

    A solver chooses all inputs: commands of every kind, when units take them and end, with which status, when
    writes are answered, when records are taken, and when an error is resumed from. Claimed:

    * every command that is taken gets one record, in the order of commands, whatever ended first;
    * a record that is offered stays;
    * while a MATVEC multiplies only what may work beside it begins, and not before the vector is loaded.

    Commands are told apart by a bit of their id, which the solver chooses.

    Members:
        command, done (in): payloads, any.
        UNIT_ready, UNIT_done (in): any; a MATVEC ends when one is under way only.
        loaded (in): a MATVEC has loaded its vector; it stays until the MATVEC ends.
        offers, takes, idle, outside, failed, restart, pick (in): any.
    """

    def __init__(self, config: Config, inside: int) -> None:
        self.config, self.inside = config, inside
        single = ("offers", "takes", "loaded", "idle", "outside", "failed", "restart", "pick")
        units = (f"{name}_{end}" for name in UNITS.values() for end in ("ready", "done"))
        super().__init__(
            {"command": In(fetched), "done": In(done), **{name: In(1) for name in (*single, *units)}}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dispatcher = dispatcher = Dispatcher(self.config)
        records = dispatcher.records
        inputs = ("loaded", "idle", "outside", "failed", "restart")
        offered = data.View(operands(Opcode.NOP), self.command.bits)
        multiplies = Signal()
        loaded = Signal(name="loaded_before")
        m.d.sync += loaded.eq(self.loaded & multiplies)
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(self.loaded | ~loaded | ~multiplies),
            *(getattr(dispatcher, name).eq(getattr(self, name)) for name in inputs),
            dispatcher.commands.valid.eq(self.offers),
            dispatcher.commands.payload.eq(self.command),
            records.ready.eq(self.takes),
        ]
        self._units(m, dispatcher, multiplies)
        m.submodules.order = order = InOrder(1, self.inside)
        m.submodules.stays = Stays(records.valid, records.ready, [records.payload.as_value()])
        m.d.comb += [
            order.enters.eq(dispatcher.commands.valid & dispatcher.commands.ready),
            order.entering.eq(offered.id[0]),
            order.leaves.eq(records.valid & records.ready),
            order.leaving.eq(records.payload.id[0]),
            order.pick.eq(self.pick),
        ]
        return m

    def _units(self, m: Module, dispatcher: Dispatcher, multiplies: Signal) -> None:
        """Units that take a command and end at any time; what begins is looked at."""
        for opcode, name in UNITS.items():
            unit: stream.Interface = getattr(dispatcher, name)
            ended: stream.Interface = getattr(dispatcher, f"{name}_done")
            command = data.View(operands(Opcode.NOP), unit.payload)
            begins = Signal(name=f"{name}_begins")
            m.d.comb += [
                unit.ready.eq(getattr(self, f"{name}_ready")),
                ended.payload.eq(self.done),
                begins.eq(unit.valid & unit.ready),
                Assert(~begins | (command.opcode == opcode.value)),
            ]
            if opcode == Opcode.MATVEC:
                m.d.comb += [
                    ended.valid.eq(getattr(self, f"{name}_done") & multiplies),
                    Assert(~begins | ~multiplies),
                ]
                with m.If(begins):
                    m.d.sync += multiplies.eq(1)
                with m.Elif(ended.valid):
                    m.d.sync += multiplies.eq(0)
                continue
            m.d.comb += ended.valid.eq(getattr(self, f"{name}_done"))
            if opcode not in BESIDE:
                m.d.comb += Assert(~begins | ~multiplies)
            else:
                m.d.comb += Assert(~begins | ~multiplies | (command.beside & self.loaded))
