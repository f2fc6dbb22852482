"""Interfaces inside the decode core: commands, scratch memory, and the channels of memory."""

from amaranth.hdl import Shape, ShapeLike, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.core import commands
from golden.core.commands import COMMAND_BYTES, COMMON, LINE_BYTES, OPERATIONS, Opcode
from hw.config import Config

__all__ = [
    "LINE_BITS",
    "Status",
    "done",
    "fetched",
    "operands",
    "read_request",
    "read_word",
    "record",
    "scratch_read",
    "scratch_write",
    "write_request",
]

LINE_BITS = 32
"""Of an address in lines of 64 bytes."""
WORDS_BITS = 32
"""Of a number of words of memory."""


class Status(enum.Enum, shape=8):
    """``golden.core.commands.Status``."""

    locals().update({status.name: status.value for status in commands.Status})


done: ShapeLike = data.StructLayout({"status": Status, "bytes": 32})
"""How a command ended, and the bytes that it wrote to memory."""


fetched: ShapeLike = data.StructLayout({"bits": 8 * COMMAND_BYTES, "status": Status})
"""A command from the ring; ``DONE``: it is to be executed, otherwise it is complete with that status."""

record: ShapeLike = data.StructLayout({"id": 32, "status": Status, "bytes": 32, "cycles": 32, "interrupt": 1})
"""A command that is complete: what its record in memory says, and whether software is told."""


def operands(opcode: Opcode) -> ShapeLike:
    """A command as an operation of the table sees it, 512 bits."""
    operation = next(each for each in OPERATIONS if each.opcode == opcode)
    return data.FlexibleLayout(
        8 * COMMAND_BYTES,
        {
            field.name: data.Field(unsigned(field.width), 32 * field.word + field.low)
            for field in (*COMMON, *operation.fields)
        },
    )


def read_request() -> data.StructLayout:
    """``words`` words of memory from the beginning of a line, at least one."""
    return data.StructLayout({"line": LINE_BITS, "words": WORDS_BITS})


def read_word(config: Config) -> data.StructLayout:
    """A word that was read; ``last`` closes a request's. ``outside``: the request leaves the window, nothing
    was read; ``failed``: the bus said so. The data is anything then.
    """
    return data.StructLayout({"data": config.memory_bits, "last": 1, "outside": 1, "failed": 1})


def words_of_line(config: Config) -> int:
    """Words of memory in a line."""
    return 8 * LINE_BYTES // config.memory_bits


def write_request(config: Config) -> data.StructLayout:
    """Bytes of a word of memory: the ``word``-th one of the line, those of ``data`` that are enabled."""
    return data.StructLayout(
        {
            "line": LINE_BITS,
            "word": ceil_log2(words_of_line(config)),
            "data": config.memory_bits,
            "enables": config.memory_bits // 8,
        }
    )


def scratch_shape(config: Config) -> data.ArrayLayout:
    """A word of scratch memory: ``core.lanes`` float32 elements."""
    return data.ArrayLayout(32, config.core.lanes)


def _address(config: Config) -> Shape:
    return Shape.cast(range(config.core.scratch // config.core.lanes))


def scratch_read(config: Config) -> wiring.Signature:
    """Reads a word of scratch memory a cycle, from the user's side.

    ``data`` comes in the cycle after ``enable`` and stays until the next one.
    """
    return wiring.Signature(
        {"address": Out(_address(config)), "enable": Out(1), "data": In(scratch_shape(config))}
    )


def scratch_write(config: Config) -> wiring.Signature:
    """Writes elements of a word of scratch memory a cycle, from the user's side."""
    return wiring.Signature(
        {
            "address": Out(_address(config)),
            "enables": Out(config.core.lanes),
            "data": Out(scratch_shape(config)),
        }
    )


def unit_members(config: Config, opcode: Opcode) -> dict[str, wiring.Member]:
    """Ports that every unit of the core has: what it is told, and how it ended."""
    return {
        "commands": In(stream.Signature(operands(opcode))),
        "done": Out(stream.Signature(done)),
    }
