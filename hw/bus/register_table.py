"""Tables of registers, from which a slave, the C header and the Markdown page are made."""

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.lib import enum

__all__ = [
    "ADDRESS_BITS",
    "DATA_BITS",
    "Access",
    "Field",
    "Register",
    "Table",
    "c_header",
    "constant",
    "counter",
    "fields",
    "identification",
    "markdown",
]

ADDRESS_BITS = 8
DATA_BITS = 32


class Access(enum.Enum):
    """What software may do, and what the value is."""

    CONSTANT = "constant"
    SETTING = "read, write"
    LOCKED = "read, write until started"
    COMMAND = "write 1"
    STATUS = "read"
    STICKY = "read, sticky"
    PENDING = "read, write 1 to clear"
    COUNTER = "read, counter"


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


Table = tuple[Register, ...]


def counter(name: str, offset: int, event: str, doc: str) -> Register:
    """A register that counts an event."""
    return Register(name, offset, (Field(event, 0, DATA_BITS, Access.COUNTER, doc),))


def constant(name: str, low: int, width: int, doc: str) -> Field:
    """A field that never changes."""
    return Field(name, low, width, Access.CONSTANT, doc)


def identification(letters: str) -> Table:
    """What every table begins with: four letters that name the circuit, and the generator's version."""
    number = int.from_bytes(letters.encode(), "big")
    return (
        Register("ID", 0x00, (constant("identity", 0, 32, f"0x{number:08x}, the letters {letters}."),)),
        Register(
            "VERSION",
            0x04,
            (
                constant("patch", 0, 8, "Third part of the version of the generator."),
                constant("minor", 8, 8, "Second part."),
                constant("major", 16, 8, "First part."),
            ),
        ),
    )


def fields(table: Table, *kinds: Access) -> Iterator[tuple[Register, Field]]:
    """Fields of some kinds with their registers, in the order of the table."""
    for register in table:
        for field in register.fields:
            if field.access in kinds:
                yield register, field


def c_header(table: Table, title: str, guard: str, prefix: str) -> str:
    """The table for C: offsets, and a shift and a mask for each field.

    Args:
        table: the registers.
        title: what they belong to.
        guard: the macro that the header defines.
        prefix: of the other macros.
    """
    lines = [f"/* Registers of {title}. Generated: do not edit. */"]
    lines += [f"#ifndef {guard}", f"#define {guard}", ""]
    for register in table:
        lines.append(f"#define {prefix}_{register.name} 0x{register.offset:02x}u")
        for field in register.fields:
            name = f"{prefix}_{register.name}_{field.name.upper()}"
            mask = (1 << field.width) - 1 << field.low
            lines += [f"/* {field.doc} */", f"#define {name}_SHIFT {field.low}"]
            lines.append(f"#define {name}_MASK 0x{mask:08x}u")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])


def markdown(table: Table) -> str:
    """The table for readers."""
    lines = ["# Registers", "", "| Offset | Register | Bits | Field | Access | Meaning |", "|" + "---|" * 6]
    for register in table:
        for field in register.fields:
            high = field.low + field.width - 1
            bits = f"{high}:{field.low}" if field.width > 1 else str(field.low)
            place = f"0x{register.offset:02x} | {register.name} | {bits}"
            lines.append(f"| {place} | {field.name} | {field.access.value} | {field.doc} |")
    return "\n".join([*lines, ""])
