"""Registers of the accelerator: its table."""

from amaranth.lib import data

from hw.bus import register_bank, register_table
from hw.bus.register_bank import RegisterBank, bus_signature
from hw.bus.register_table import Access, Field, Register, constant, counter, identification
from hw.config import Config

__all__ = [
    "IDENTITY",
    "TABLE",
    "VERSION",
    "Registers",
    "bus_signature",
    "c_header",
    "events",
    "markdown",
    "version",
]

VERSION = (0, 1, 0)
IDENTITY = int.from_bytes(b"kvlm", "big")

TABLE = (
    *identification("kvlm"),
    Register(
        "CONFIG0",
        0x08,
        (
            constant("rows", 0, 8, "Output rows of the array."),
            constant("columns", 8, 8, "Token columns of the array."),
            constant("lanes", 16, 8, "Multiplications of a processing element in a cycle."),
            constant("activation_lanes", 24, 8, "Elements of a token column in a beat of activations."),
        ),
    ),
    Register(
        "CONFIG1",
        0x0C,
        (
            constant("group", 0, 16, "Elements of the longest group."),
            constant("memory_bits", 16, 16, "Bits of a word of memory, weights and pages alike."),
        ),
    ),
    Register(
        "CONFIG2",
        0x10,
        (
            constant("maximum_inputs", 0, 24, "Longest activation vector, in elements."),
            constant("rescale_units", 24, 8, "Output rows in a beat of results."),
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
    counter("PACKETS", 0x28, "packet", "Packets whose last result has left."),
    counter("CYCLES", 0x2C, "busy", "Clock cycles in which STATUS.busy was set."),
    counter("ERROR_HEADER", 0x30, "header", "Packets dropped because of an illegal header."),
    counter("ERROR_SHORT", 0x34, "short", "Packets that ended early; their results are marked."),
    counter("ERROR_LONG", 0x38, "long", "Packets with words behind their end, which were dropped."),
    counter(
        "ERROR_MISMATCH", 0x3C, "mismatch", "Packets dropped because their vector's length or groups differ."
    ),
    counter("ERROR_VECTOR", 0x40, "vector", "Activation vectors cut at the longest length."),
)


def version() -> dict[str, int]:
    """The parts of ``VERSION`` by name of field."""
    return dict(zip(("major", "minor", "patch"), VERSION, strict=True))


def events() -> data.StructLayout:
    """``register_bank.events`` of ``TABLE``."""
    return register_bank.events(TABLE)


class Registers(RegisterBank):
    """The registers of an accelerator, ``TABLE``."""

    def __init__(self, config: Config) -> None:
        constants = {"identity": IDENTITY, **version(), **config.model_dump()}
        super().__init__(TABLE, constants)


def c_header(prefix: str = "kvloom") -> str:
    """The table for C.

    Args:
        prefix: of the header's guard; the macros of all configurations are the same ones.
    """
    guard = f"{prefix.upper()}_REGISTERS_H"
    return register_table.c_header(TABLE, "the kvloom accelerator", guard, "KVLOOM")


def markdown() -> str:
    """The table for readers."""
    return register_table.markdown(TABLE)
