"""Commands of the decode core: one table that the golden core, the circuit, the C header and the docs share.

A command is 64 bytes, sixteen little-endian words of 32 bits; every bit that no field of its operation owns
must be zero. Addresses of memory are *lines* of 64 bytes, counted from the beginning of the core's window;
one that is worked out of a token or a position counts modulo 2^32. Places in scratch memory are elements of
float32, multiples of 16.

Commands are executed in order, one at a time but for ``beside``; each is answered by a completion of 16
bytes: its id, its status (``Status`` in bits 7:0), bytes written to memory, and cycles.

A command whose ``mask`` and ``phase`` do not fit the sequence's position, ``position & mask != phase``, does
nothing and is complete with the status ``SKIPPED``, so that the commands of every token are the same bytes.
So is one with ``unprompted`` where the prompt has the next token, which then need not be worked out.

A command with ``beside`` may begin while the MATVEC in front of it still multiplies, if it is a NOP, GATHER,
APPEND, CLOSE or VECTOR, and the MATVEC's results go to scratch memory: it must neither read those results nor
write where they go. It is executed also where a command in front of it stopped all others with an error.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

__all__ = [
    "BESIDE",
    "COMMAND_BYTES",
    "COMMON",
    "COMPLETION_BYTES",
    "LINE_BYTES",
    "OPERATIONS",
    "UNIT",
    "Field",
    "Function",
    "IndexKind",
    "Opcode",
    "Operation",
    "Status",
    "decode",
    "encode",
    "problem",
]

COMMAND_BYTES = 64
COMPLETION_BYTES = 16
LINE_BYTES = 64
UNIT = 16
"""Elements of which a place or a length in scratch memory is a multiple."""
_WORDS = COMMAND_BYTES // 4


class Opcode(IntEnum):
    """What a command does."""

    NOP = 0
    BEGIN = 1
    GATHER = 2
    MATVEC = 3
    APPEND = 4
    CLOSE = 5
    ATTEND = 6
    VECTOR = 7
    ADVANCE = 8


BESIDE = (Opcode.NOP, Opcode.GATHER, Opcode.APPEND, Opcode.CLOSE, Opcode.VECTOR)
"""What can work while a MATVEC does; any other command waits for it, with ``beside`` too."""


class Function(IntEnum):
    """What ``VECTOR`` works out (``golden.vector``)."""

    COPY = 0
    ADD = 1
    MULTIPLY = 2
    NORM = 3
    ROTARY = 4
    SILU_MULTIPLY = 5
    ARG_MAX = 6


class IndexKind(IntEnum):
    """Which row ``GATHER`` takes."""

    FIRST = 0
    TOKEN = 1
    POSITION = 2


class Status(IntEnum):
    """How a command ended."""

    DONE = 0
    SKIPPED = 1
    BAD_OPCODE = 2
    RESERVED = 3
    BAD_FIELD = 4
    OUTSIDE = 5
    BUS_ERROR = 6
    BAD_PACKET = 7
    BAD_PAGE = 8
    FULL = 9
    IDENTITY = 10

    @property
    def is_error(self) -> bool:
        """Whether the command has failed."""
        return self not in (Status.DONE, Status.SKIPPED)


@dataclass(frozen=True)
class Field:
    """Some bits of a command.

    Attributes:
        name: unique within an operation.
        word, low, width: where it lies.
        doc: one sentence.
        unit: what its value must be a multiple of.
    """

    name: str
    word: int
    low: int
    width: int
    doc: str
    unit: int = 1

    @property
    def mask(self) -> int:
        """Its bits within its word."""
        return (1 << self.width) - 1 << self.low


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    Attributes:
        opcode: its number.
        doc: what it does.
        fields: beside ``COMMON``.
    """

    opcode: Opcode
    doc: str
    fields: tuple[Field, ...] = ()


COMMON = (
    Field("opcode", 0, 0, 8, "Operation."),
    Field("interrupt", 0, 8, 1, "Raise the interrupt when complete."),
    Field("stop", 0, 9, 1, "After an error execute nothing more until started again."),
    Field("wait_results", 0, 10, 1, "Begin when all data written before have been answered."),
    Field("beside", 0, 11, 1, "May begin while the MATVEC before it multiplies."),
    Field("unprompted", 0, 12, 1, "Skipped where the prompt has the next token."),
    Field("id", 1, 0, 32, "Copied to the completion."),
    Field("mask", 2, 0, 16, "Bits of the position that count."),
    Field("phase", 2, 16, 16, "What they must be."),
)

_HEAD = Field("head", 3, 0, 32, "Line of a KV head's header.")
_SEQUENCE = Field("sequence", 3, 0, 32, "Line of the sequence's state.")
_SIDE = Field("side", 5, 0, 1, "0 keys, 1 values.")


def _scratch(name: str, word: int, low: int, doc: str) -> Field:
    return Field(name, word, low, 16, doc, UNIT)


OPERATIONS = (
    Operation(Opcode.NOP, "Nothing."),
    Operation(
        Opcode.BEGIN,
        "Take up a sequence: its state, which must name the core's model, and the token at its position.",
        (_SEQUENCE,),
    ),
    Operation(
        Opcode.GATHER,
        "A row of a table to scratch memory.",
        (
            Field("table", 3, 0, 32, "Line of row 0."),
            Field("pitch", 4, 0, 16, "Lines from row to row."),
            _scratch("destination", 5, 0, "First element."),
            _scratch("elements", 5, 16, "Elements of a row."),
            Field("index", 6, 0, 2, "Which row: 0 the first one, 1 the token's, 2 the position's."),
            Field("single", 6, 8, 1, "Elements are float32 instead of float16."),
        ),
    ),
    Operation(
        Opcode.MATVEC,
        "A packet of weights times a vector, to scratch memory, or to the arg-max and perhaps memory.",
        (
            Field("packet", 3, 0, 32, "Line of the packet."),
            Field("words", 4, 0, 32, "Words of memory that the packet has."),
            _scratch("source", 5, 0, "First element of the vector."),
            _scratch("elements", 5, 16, "Elements of the vector."),
            _scratch("destination", 6, 0, "First element of the results."),
            _scratch("rows", 6, 16, "Results; 0 with ``arg_max``, where they are as many as the packet has."),
            Field("halvings", 7, 0, 2, "How often the longest group is halved for the vector."),
            Field("arg_max", 7, 8, 1, "Results go to the arg-max instead of scratch memory."),
            Field("logits", 7, 9, 1, "With ``arg_max``: and to memory, as float32."),
            Field("results", 8, 0, 32, "Line of the first result in memory."),
        ),
    ),
    Operation(
        Opcode.APPEND,
        "A vector of one KV head to the sequence's window.",
        (_HEAD, _scratch("source", 4, 0, "First element of the key or the value."), _SIDE),
    ),
    Operation(
        Opcode.CLOSE,
        "The oldest page of a KV head's window becomes a page of the cache, if it is due.",
        (_HEAD, _SIDE, Field("ahead", 5, 8, 8, "Tokens by which it comes before the page is due.")),
    ),
    Operation(
        Opcode.ATTEND,
        "Attention of queries of KV heads on their pages and windows. No output may lie on queries of a head "
        "behind its own.",
        (
            Field("head", 3, 0, 32, "Line of the first KV head's header."),
            _scratch("source", 4, 0, "First element of the first query; queries lie one behind the other."),
            _scratch("destination", 4, 16, "First element of the first output; likewise."),
            Field("queries", 5, 0, 8, "Query heads of a KV head."),
            Field("heads", 5, 8, 8, "KV heads."),
            Field("pitch", 6, 0, 32, "Lines from header to header."),
        ),
    ),
    Operation(
        Opcode.VECTOR,
        "A function of vectors in scratch memory.",
        (
            Field("function", 3, 0, 8, "Function."),
            _scratch("source", 4, 0, "First element of the first operand."),
            _scratch("operand", 4, 16, "First element of the second operand."),
            _scratch("destination", 5, 0, "First element of the results."),
            _scratch("elements", 5, 16, "Elements."),
            _scratch("segment", 6, 0, "Elements that are normalised or rotated together."),
            Field("epsilon", 7, 0, 32, "Float32 that a norm adds to the mean square."),
            Field("reciprocal", 8, 0, 32, "Float32 1 / segment of a norm."),
        ),
    ),
    Operation(
        Opcode.ADVANCE,
        "The position of the sequence moves on; where the prompt has no token, the arg-max becomes it.",
    ),
)

_BY_OPCODE = {operation.opcode: operation for operation in OPERATIONS}


def _fields(opcode: int) -> tuple[Field, ...]:
    return (*COMMON, *_BY_OPCODE[Opcode(opcode)].fields)


def encode(opcode: Opcode, **values: int) -> bytes:
    """A command.

    Raises:
        ValueError: no such field, or a value that it cannot hold.
    """
    fields = {field.name: field for field in _fields(opcode)}
    words = np.zeros(_WORDS, "<u4")
    for name, value in ({"opcode": int(opcode)} | values).items():
        if name not in fields:
            raise ValueError(f"{opcode.name} has no field {name!r}, fields are {', '.join(fields)}")
        field = fields[name]
        if not 0 <= value < 1 << field.width or value % field.unit:
            most = (1 << field.width) - 1
            raise ValueError(f"{name} = {value} must be 0..{most} and a multiple of {field.unit}")
        words[field.word] |= np.uint32(value << field.low)
    return words.tobytes()


def decode(command: bytes) -> dict[str, int]:
    """Fields of a command that has no ``problem``."""
    words = np.frombuffer(command, "<u4")
    opcode = int(words[0]) & 0xFF
    return {
        field.name: int(words[field.word]) >> field.low & field.mask >> field.low for field in _fields(opcode)
    }


def problem(command: bytes) -> Status | None:
    """What is wrong with a command by itself: its opcode, bits that no field owns, or a unit."""
    words = [int(word) for word in np.frombuffer(command, "<u4")]
    if words[0] & 0xFF not in set(Opcode):
        return Status.BAD_OPCODE
    fields = _fields(words[0] & 0xFF)
    owned = [0] * _WORDS
    for field in fields:
        owned[field.word] |= field.mask
    if any(word & ~own for word, own in zip(words, owned, strict=True)):
        return Status.RESERVED
    places = ((words[field.word] & field.mask) >> field.low for field in fields)
    if any(place % field.unit for place, field in zip(places, fields, strict=True)):
        return Status.BAD_FIELD
    return None
