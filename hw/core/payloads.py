"""Interfaces inside the decode core: commands, scratch memory, and the channels of memory."""

from amaranth.hdl import ShapeLike, Value
from amaranth.lib import data
from amaranth.utils import ceil_log2

from golden.core.commands import COMMAND_BYTES, LINE_BYTES
from hw.config import Config
from hw.vector.payloads import (
    Status,
    done,
    operands,
    scratch_read,
    scratch_shape,
    scratch_write,
    unit_members,
)

__all__ = [
    "LINE_BITS",
    "Status",
    "done",
    "fetched",
    "is_error",
    "operands",
    "read_request",
    "read_word",
    "record",
    "scratch_read",
    "scratch_shape",
    "scratch_write",
    "unit_members",
    "words_of_line",
    "write_request",
]

LINE_BITS = 32
"""Of an address in lines of 64 bytes."""
WORDS_BITS = 32
"""Of a number of words of memory."""


fetched: ShapeLike = data.StructLayout({"bits": 8 * COMMAND_BYTES, "status": Status})
"""A command from the ring; ``DONE``: it is to be executed, otherwise it is complete with that status."""

record: ShapeLike = data.StructLayout({"id": 32, "status": Status, "bytes": 32, "cycles": 32, "interrupt": 1})
"""A command that is complete: what its record in memory says, and whether software is told."""


def is_error(status: Value) -> Value:
    """Whether a command that ended so has failed."""
    return (status != Status.DONE) & (status != Status.SKIPPED)


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
