"""Registers: one table from which the AXI4-Lite slave, the C header and the Markdown page are made."""

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config

__all__ = [
    "TABLE",
    "VERSION",
    "Access",
    "Field",
    "Register",
    "Registers",
    "Response",
    "bus_signature",
    "c_header",
    "events",
    "markdown",
    "settings",
]

VERSION = (0, 1, 0)
ADDRESS_BITS = 8
DATA_BITS = 32
_IDENTITY = int.from_bytes(b"kvlm", "big")


class Access(enum.Enum):
    """What software may do, and what the value is."""

    CONSTANT = "constant"
    SETTING = "read, write"
    COMMAND = "write 1"
    STATUS = "read"
    STICKY = "read, sticky"
    COUNTER = "read, counter"


class Response(enum.Enum, shape=2):
    """AXI response codes in use."""

    OKAY = 0
    SLVERR = 2


@dataclass(frozen=True)
class Field:
    """Some bits of a register.

    Attributes:
        name: of the event or setting it stands for, or of the constant.
        low: lowest bit.
        width: bits.
        access: see ``Access``.
        doc: one sentence, for the Markdown page and the C header.
    """

    name: str
    low: int
    width: int
    access: Access
    doc: str


@dataclass(frozen=True)
class Register:
    """A 32-bit word at a byte address."""

    name: str
    offset: int
    fields: tuple[Field, ...]


def _counter(name: str, offset: int, event: str, doc: str) -> Register:
    return Register(name, offset, (Field(event, 0, DATA_BITS, Access.COUNTER, doc),))


def _constant(name: str, low: int, width: int, doc: str) -> Field:
    return Field(name, low, width, Access.CONSTANT, doc)


TABLE = (
    Register("ID", 0x00, (_constant("identity", 0, 32, "0x6b766c6d, the letters kvlm."),)),
    Register(
        "VERSION",
        0x04,
        (
            _constant("patch", 0, 8, "Third part of the version of the generator."),
            _constant("minor", 8, 8, "Second part."),
            _constant("major", 16, 8, "First part."),
        ),
    ),
    Register(
        "CONFIG0",
        0x08,
        (
            _constant("rows", 0, 8, "Output rows of the array."),
            _constant("columns", 8, 8, "Token columns of the array."),
            _constant("lanes", 16, 8, "Multiplications of a processing element in a cycle."),
            _constant("activation_lanes", 24, 8, "Elements of a token column in a beat of activations."),
        ),
    ),
    Register(
        "CONFIG1",
        0x0C,
        (
            _constant("group", 0, 16, "Elements of the longest group."),
            _constant("memory_bits", 16, 16, "Bits of a word of memory, weights and pages alike."),
        ),
    ),
    Register(
        "CONFIG2",
        0x10,
        (
            _constant("maximum_inputs", 0, 24, "Longest activation vector, in elements."),
            _constant("rescale_units", 24, 8, "Output rows in a beat of results."),
        ),
    ),
    Register(
        "CONTROL",
        0x20,
        (
            Field("format", 0, 1, Access.SETTING, "Format of activation vectors: 0 FP16, 1 BF16."),
            Field("clear", 1, 1, Access.COMMAND, "Clear every counter and sticky flag; reads as 0."),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        (
            Field("busy", 0, 1, Access.STATUS, "Packets are on their way."),
            Field("overflow", 1, 1, Access.STICKY, "A finite sum became an infinite result."),
            Field("special", 2, 1, Access.STICKY, "A NaN or an infinity came among the activations."),
        ),
    ),
    _counter("PACKETS", 0x28, "packet", "Packets whose last result has left."),
    _counter("CYCLES", 0x2C, "busy", "Clock cycles in which STATUS.busy was set."),
    _counter("ERROR_HEADER", 0x30, "header", "Packets dropped because of an illegal header."),
    _counter("ERROR_SHORT", 0x34, "short", "Packets that ended early; their results are marked."),
    _counter("ERROR_LONG", 0x38, "long", "Packets with words behind their end, which were dropped."),
    _counter(
        "ERROR_MISMATCH", 0x3C, "mismatch", "Packets dropped because their vector's length or groups differ."
    ),
    _counter("ERROR_VECTOR", 0x40, "vector", "Activation vectors cut at the longest length."),
)


def _fields(*kinds: Access) -> Iterator[tuple[Register, Field]]:
    for register in TABLE:
        for field in register.fields:
            if field.access in kinds:
                yield register, field


def settings() -> data.StructLayout:
    """What software controls."""
    return data.StructLayout({field.name: field.width for _, field in _fields(Access.SETTING)})


def events() -> data.StructLayout:
    """What the hardware reports: levels, and one cycle for each event that is counted or remembered."""
    return data.StructLayout(
        {field.name: 1 for _, field in _fields(Access.STATUS, Access.STICKY, Access.COUNTER)}
    )


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


class Registers(wiring.Component):
    """The AXI4-Lite slave of ``TABLE``.

    Reads answer one cycle after their address, writes two cycles after the later one of address and data,
    which may come in any order; one access of each kind in two cycles. The two lowest address bits do not
    count.
    Accesses to other addresses, and writes to registers that software can't change, are answered with SLVERR
    and do nothing. An event in the cycle of a clear is lost. Counters wrap.

    Members:
        bus (in): AXI4-Lite.
        events (in): see ``events``.
        settings (out): see ``settings``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__({"bus": In(bus_signature()), "events": In(events()), "settings": Out(settings())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write, write_address, write_bits, mask = self._write_channel(m)
        clear = Signal()
        words = {register.offset >> 2: self._word(m, register, clear) for register in TABLE}
        self._read_channel(m, words)

        writable = dict.fromkeys(
            register.offset >> 2 for register, _ in _fields(Access.SETTING, Access.COMMAND)
        )
        known = Cat(write_address == address for address in writable).any()
        with m.If(write):
            m.d.sync += self.bus.bresp.eq(Mux(known, Response.OKAY, Response.SLVERR))
        for register, field in _fields(Access.SETTING, Access.COMMAND):
            place = slice(field.low, field.low + field.width)
            chosen = write & (write_address == register.offset >> 2)
            if field.access is Access.COMMAND:
                m.d.comb += clear.eq(chosen & (write_bits & mask)[place])
                continue
            with m.If(chosen):
                value = self.settings[field.name]
                m.d.sync += value.eq((value & ~mask[place]) | (write_bits & mask)[place])
        return m

    def _word(self, m: Module, register: Register, clear: Value) -> Value:
        """What the register reads as."""
        word = Signal(DATA_BITS, name=register.name.lower())
        for field in register.fields:
            place = word[field.low : field.low + field.width]
            m.d.comb += place.eq(self._value(m, field, clear))
        return word

    def _value(self, m: Module, field: Field, clear: Value) -> Value:
        if field.access is Access.CONSTANT:
            return Const(self._constant(field.name), field.width)
        if field.access is Access.COMMAND:
            return Const(0, field.width)
        if field.access is Access.SETTING:
            return self.settings[field.name]
        event = self.events[field.name]
        if field.access is Access.STATUS:
            return event
        held = Signal(field.width, name=f"{field.name}_held")
        with m.If(clear):
            m.d.sync += held.eq(0)
        with m.Elif(event):
            m.d.sync += held.eq(1 if field.access is Access.STICKY else held + 1)
        return held

    def _constant(self, name: str) -> int:
        versions = dict(zip(("major", "minor", "patch"), VERSION, strict=True))
        return {"identity": _IDENTITY, **versions, **self.config.model_dump()}[name]

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


def c_header(prefix: str = "kvloom") -> str:
    """The table for C: offsets, and a shift and a mask for each field.

    Args:
        prefix: of the header's guard; the macros of all configurations are the same ones.
    """
    guard = f"{prefix.upper()}_REGISTERS_H"
    lines = ["/* Registers of the kvloom accelerator. Generated: do not edit. */"]
    lines += [f"#ifndef {guard}", f"#define {guard}", ""]
    for register in TABLE:
        lines.append(f"#define KVLOOM_{register.name} 0x{register.offset:02x}u")
        for field in register.fields:
            name = f"KVLOOM_{register.name}_{field.name.upper()}"
            mask = (1 << field.width) - 1 << field.low
            lines += [f"/* {field.doc} */", f"#define {name}_SHIFT {field.low}"]
            lines.append(f"#define {name}_MASK 0x{mask:08x}u")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])


def markdown() -> str:
    """The table for readers."""
    lines = ["# Registers", "", "| Offset | Register | Bits | Field | Access | Meaning |", "|" + "---|" * 6]
    for register in TABLE:
        for field in register.fields:
            high = field.low + field.width - 1
            bits = f"{high}:{field.low}" if field.width > 1 else str(field.low)
            place = f"0x{register.offset:02x} | {register.name} | {bits}"
            lines.append(f"| {place} | {field.name} | {field.access.value} | {field.doc} |")
    return "\n".join([*lines, ""])
