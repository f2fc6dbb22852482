"""A bank of registers: the AXI4-Lite slave of any table."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import Response
from hw.bus.register_table import ADDRESS_BITS, DATA_BITS, Access, Field, Register, Table, fields

__all__ = ["RegisterBank", "bus_signature", "events", "settings"]

_SETTINGS = (Access.SETTING, Access.LOCKED)
_WRITABLE = (*_SETTINGS, Access.COMMAND, Access.PENDING)


def settings(table: Table) -> data.StructLayout:
    """What software controls."""
    return data.StructLayout({field.name: field.width for _, field in fields(table, *_SETTINGS)})


def events(table: Table) -> data.StructLayout:
    """What the hardware reports: values, and one cycle for each event that is counted or remembered."""
    kinds = Access.STATUS, Access.STICKY, Access.PENDING, Access.COUNTER
    return data.StructLayout(
        {
            field.name: field.width if field.access is Access.STATUS else 1
            for _, field in fields(table, *kinds)
        }
    )


def _pulses(table: Table) -> dict[str, int]:
    names = (field.name for _, field in fields(table, Access.COMMAND))
    return {name: 1 for name in names if name != "clear"}


def bus_signature() -> wiring.Signature:
    """AXI4-Lite (ARM IHI 0022) with 32 bits of data, from the initiator's side."""
    return wiring.Signature(
        {
            "awaddr": Out(ADDRESS_BITS),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(DATA_BITS),
            "wstrb": Out(DATA_BITS // 8),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(Response),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(ADDRESS_BITS),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(DATA_BITS),
            "rresp": In(Response),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


class RegisterBank(wiring.Component):
    """The AXI4-Lite slave of a table.

    Reads answer one cycle after their address, writes two cycles after the later one of address and data,
    which may come in any order; one access of each kind in two cycles. The two lowest address bits do not
    count.
    Accesses to other addresses, and writes to registers that software can't change, are answered with SLVERR
    and do nothing. The command ``clear`` clears counters and sticky flags; an event in its cycle is lost. One
    in the cycle in which a pending flag is cleared is not. Counters wrap.

    Args:
        table: with ``LOCKED`` fields, which a command ``start`` locks for good, registers hold nothing else.
        constants: values of the constant fields.

    Members:
        bus (in): AXI4-Lite.
        events (in): see ``events``.
        settings (out): see ``settings``.
        pulses (out): commands other than ``clear``, for a cycle, if there are any.
        pending (out): pending flags, if there are any.
        started (out): the command ``start`` came, if it is one.
    """

    def __init__(self, table: Table, constants: Mapping[str, int]) -> None:
        self.table, self.constants = table, dict(constants)
        members = {
            "bus": In(bus_signature()),
            "events": In(events(table)),
            "settings": Out(settings(table)),
        }
        pulses = _pulses(table)
        pending = {field.name: 1 for _, field in fields(table, Access.PENDING)}
        if pulses:
            members["pulses"] = Out(data.StructLayout(pulses))
        if pending:
            members["pending"] = Out(data.StructLayout(pending))
        if "start" in pulses:
            members["started"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write, write_address, write_bits, mask = self._write_channel(m)
        clear = Signal()
        words = {register.offset >> 2: self._word(m, register, clear) for register in self.table}
        self._read_channel(m, words)

        known = self._known(write_address)
        with m.If(write):
            m.d.sync += self.bus.bresp.eq(Mux(known, Response.OKAY, Response.SLVERR))
        ones = write_bits & mask
        for register, field in fields(self.table, *_WRITABLE):
            place = slice(field.low, field.low + field.width)
            chosen = write & (write_address == register.offset >> 2)
            match field.access:
                case Access.COMMAND:
                    pulse = clear if field.name == "clear" else self.pulses[field.name]
                    m.d.comb += pulse.eq(chosen & ones[place])
                case Access.PENDING:
                    flag = self.pending[field.name]
                    m.d.sync += flag.eq(self.events[field.name] | (flag & ~(chosen & ones[place])))
                case _:
                    with m.If(chosen & ~self.started if field.access is Access.LOCKED else chosen):
                        value = self.settings[field.name]
                        m.d.sync += value.eq((value & ~mask[place]) | ones[place])
        if "start" in _pulses(self.table):
            with m.If(self.pulses.start):
                m.d.sync += self.started.eq(1)
        return m

    def _known(self, address: Value) -> Value:
        """Software may write the register now."""
        always = [register.offset >> 2 for register, field in fields(self.table, *_WRITABLE)]
        locked = {register.offset >> 2 for register, _ in fields(self.table, Access.LOCKED)}
        return Cat(
            (address == each) & ~self.started if each in locked else address == each
            for each in dict.fromkeys(always)
        ).any()

    def _word(self, m: Module, register: Register, clear: Value) -> Value:
        """What the register reads as."""
        word = Signal(DATA_BITS, name=register.name.lower())
        for field in register.fields:
            place = word[field.low : field.low + field.width]
            m.d.comb += place.eq(self._value(m, field, clear))
        return word

    def _value(self, m: Module, field: Field, clear: Value) -> Value:
        if field.access is Access.CONSTANT:
            return Const(self.constants[field.name], field.width)
        if field.access is Access.COMMAND:
            return Const(0, field.width)
        if field.access in _SETTINGS:
            return self.settings[field.name]
        if field.access is Access.PENDING:
            return self.pending[field.name]
        event = self.events[field.name]
        if field.access is Access.STATUS:
            return event
        held = Signal(field.width, name=f"{field.name}_held")
        with m.If(clear):
            m.d.sync += held.eq(0)
        with m.Elif(event):
            m.d.sync += held.eq(1 if field.access is Access.STICKY else held + 1)
        return held

    def _write_channel(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Collect address and data; returns the cycle of a write, its word address, bits and bit mask."""
        bus = self.bus
        address = Signal(ADDRESS_BITS - 2)
        bits = Signal(DATA_BITS)
        strobe = Signal(DATA_BITS // 8)
        has_address = Signal()
        has_bits = Signal()
        write = Signal()
        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_bits),
            write.eq(has_address & has_bits & (~bus.bvalid | bus.bready)),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_bits.eq(1), bits.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_bits.eq(0), bus.bvalid.eq(1)]
        return write, address, bits, Cat(bit.replicate(8) for bit in strobe)

    def _read_channel(self, m: Module, words: dict[int, Value]) -> None:
        bus = self.bus
        m.d.comb += bus.arready.eq(~bus.rvalid)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0), bus.rresp.eq(Response.SLVERR)]
            with m.Switch(bus.araddr[2:]):
                for address, word in words.items():
                    with m.Case(address):
                        m.d.sync += [bus.rdata.eq(word), bus.rresp.eq(Response.OKAY)]
