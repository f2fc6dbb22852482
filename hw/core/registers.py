"""Registers of the decode core: its table, what software is told by interrupt, and where the ring is."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.bus import axi, register_bank, register_table
from hw.bus.register_bank import RegisterBank, bus_signature
from hw.bus.register_table import Access, Field, Register, constant, counter, identification
from hw.bus.registers import version
from hw.config import Config
from hw.core.payloads import LINE_BITS

__all__ = ["IDENTITY", "TABLE", "Registers", "c_header", "events", "markdown"]

IDENTITY = int.from_bytes(b"kvlc", "big")
_BASE_ZEROS = (axi.BORDER - 1).bit_length()
"""Lowest bits of the window's base."""


def _locked(name: str, offset: int, field: str, doc: str) -> Register:
    return Register(name, offset, (Field(field, 0, 32, Access.LOCKED, doc),))


def _interrupts(kind: Access, prefix: str, completion: str, error: str) -> tuple[Field, ...]:
    return (
        Field(f"{prefix}completion", 0, 1, kind, completion),
        Field(f"{prefix}error", 1, 1, kind, error),
    )


TABLE = (
    *identification("kvlc"),
    Register(
        "CONFIG0",
        0x08,
        (
            constant("rows", 0, 8, "Output rows of the array."),
            constant("columns", 8, 8, "Token columns of the array."),
            constant("lanes", 16, 8, "Multiplications of a processing element in a cycle."),
            constant("vector_lanes", 24, 8, "Elements that the vector unit works on at a time."),
        ),
    ),
    Register(
        "CONFIG1",
        0x0C,
        (
            constant("group", 0, 16, "Elements of the longest group."),
            constant("memory_bits", 16, 16, "Bits of a word of memory."),
        ),
    ),
    Register(
        "CONFIG2",
        0x10,
        (constant("scratch", 0, 32, "Elements of scratch memory."),),
    ),
    Register(
        "CONFIG3",
        0x14,
        (
            constant("channels", 0, 16, "Most elements of a head."),
            constant("page_tokens", 16, 8, "Tokens of a page."),
            constant("queries", 24, 8, "Most query heads of a KV head."),
        ),
    ),
    Register(
        "CONTROL",
        0x20,
        (
            Field(
                "start",
                0,
                1,
                Access.COMMAND,
                "Lock the window and the ring, and execute commands, after an error too; reads as 0.",
            ),
            Field("clear", 1, 1, Access.COMMAND, "Clear every counter and sticky flag; reads as 0."),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        (
            Field("busy", 0, 1, Access.STATUS, "Commands are under way, or writes are not answered."),
            Field("halted", 1, 1, Access.STATUS, "A command with the flag stop failed; start goes on."),
            Field("error", 2, 1, Access.STICKY, "A command failed, or a write to memory did."),
        ),
    ),
    Register(
        "WINDOW_BASE_LOW",
        0x28,
        (
            Field(
                "base_low",
                _BASE_ZEROS,
                32 - _BASE_ZEROS,
                Access.LOCKED,
                "Bits 31:12 of the address of line 0 of the window.",
            ),
        ),
    ),
    Register(
        "WINDOW_BASE_HIGH",
        0x2C,
        (
            Field(
                "base_high", 0, axi.ADDRESS_BITS - 32, Access.LOCKED, "Bits 39:32 of the address of line 0."
            ),
        ),
    ),
    _locked("WINDOW_LIMIT", 0x30, "limit", "Lines of 64 bytes of the window; it ends within 2^40 bytes."),
    _locked("RING_LINE", 0x34, "ring_line", "Line of command 0 of the ring."),
    _locked("RING_SIZE", 0x38, "ring_size", "Commands of the ring."),
    _locked("COMPLETION_LINE", 0x3C, "completion_line", "Line of record 0, 16 bytes for each command."),
    Register(
        "TAIL",
        0x40,
        (
            Field(
                "tail",
                0,
                32,
                Access.SETTING,
                "Commands given since reset, modulo 2^32: the doorbell; at most RING_SIZE ahead of HEAD.",
            ),
        ),
    ),
    Register(
        "HEAD",
        0x44,
        (Field("head", 0, 32, Access.STATUS, "Commands whose records are in memory, modulo 2^32."),),
    ),
    Register(
        "IRQ_ENABLE",
        0x48,
        _interrupts(
            Access.SETTING,
            "enable_",
            "IRQ_PENDING.completion raises the interrupt.",
            "IRQ_PENDING.error raises the interrupt.",
        ),
    ),
    Register(
        "IRQ_PENDING",
        0x4C,
        _interrupts(
            Access.PENDING,
            "",
            "The record of a command with the flag interrupt is in memory.",
            "A command failed, or a write to memory did.",
        ),
    ),
    counter("CYCLES", 0x50, "cycle", "Clock cycles in which STATUS.busy was set."),
    counter("COMMANDS", 0x54, "command", "Commands that are complete."),
    counter("READ_WORDS", 0x58, "read_word", "Words of memory read."),
    counter("WRITE_WORDS", 0x5C, "write_word", "Words of memory written, in part or whole."),
    counter("WEIGHT_WORDS", 0x60, "weight_word", "Words of packets of weights that the array took."),
    counter("ARRAY_WAITS", 0x64, "array_wait", "Cycles in which no weights were being multiplied."),
    _locked("MODEL_LOW", 0x68, "model_low", "Identity of the model whose sequences are taken up."),
    _locked("MODEL_HIGH", 0x6C, "model_high", "Its upper half."),
)


def events() -> data.StructLayout:
    """What the core reports, ``register_bank.events``; ``error`` is both the sticky and the pending one."""
    return register_bank.events(TABLE)


class Registers(wiring.Component):
    """The AXI4-Lite slave of ``TABLE``, and the interrupt.

    Args:
        config: gives the constants.

    Members:
        bus (in): AXI4-Lite, see ``RegisterBank``.
        events (in): see ``events``.
        base, limit (out): the window of the movers.
        ring_line, ring_size, tail, completion_line, model (out): see the table.
        start (out): the command, for a cycle.
        started (out): it came since reset; window, ring and records stay as they are from then on.
        irq (out): a level, while a pending flag is set that is enabled.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        words = dict.fromkeys(("limit", "ring_line", "ring_size", "tail", "completion_line"), Out(LINE_BITS))
        super().__init__(
            {
                "bus": In(bus_signature()),
                "events": In(events()),
                "base": Out(axi.ADDRESS_BITS),
                **words,
                "model": Out(64),
                "start": Out(1),
                "started": Out(1),
                "irq": Out(1),
            }
        )

    def _constants(self) -> dict[str, int]:
        config = self.config
        return {
            "identity": IDENTITY,
            **version(),
            **config.model_dump(),
            **config.kv.model_dump(include={"channels", "page_tokens", "queries"}),
            "scratch": config.core.scratch,
            "vector_lanes": config.core.lanes,
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bank = bank = RegisterBank(TABLE, self._constants())
        connect(m, flipped(self.bus), bank.bus)
        settings, pending = bank.settings, bank.pending
        m.d.comb += [
            bank.events.eq(self.events),
            self.base.eq(Cat(settings.base_low, settings.base_high) << _BASE_ZEROS),
            self.limit.eq(settings.limit),
            self.model.eq(Cat(settings.model_low, settings.model_high)),
            self.ring_line.eq(settings.ring_line),
            self.ring_size.eq(settings.ring_size),
            self.tail.eq(settings.tail),
            self.completion_line.eq(settings.completion_line),
            self.start.eq(bank.pulses.start),
            self.started.eq(bank.started),
        ]
        raised = (pending.completion & settings.enable_completion) | (pending.error & settings.enable_error)
        m.d.sync += self.irq.eq(raised)
        return m


def c_header(prefix: str = "kvloom") -> str:
    """The table for C.

    Args:
        prefix: of the header's guard; the macros of all configurations are the same ones.
    """
    guard = f"{prefix.upper()}_CORE_REGISTERS_H"
    return register_table.c_header(TABLE, "the kvloom decode core", guard, "KVLOOM_CORE")


def markdown() -> str:
    """The table for readers."""
    return register_table.markdown(TABLE)
