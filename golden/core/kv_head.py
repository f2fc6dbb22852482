"""A KV head in memory (``golden.core.state``), read at a sequence's position."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.attention import widths
from golden.core.commands import LINE_BYTES, UNIT, Status
from golden.core.kv_shape import KvShape
from golden.core.state import HEAD, RECORD, RECORD_BYTES, closed, field_values
from golden.kv.schemes import WINDOW

__all__ = ["Fault", "KvHead", "Memory", "Slot", "read", "read_head"]

Memory = NDArray[np.uint8]

_MOST_TOP = 31


class Fault(Exception):
    """A command ends with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Slot(NamedTuple):
    """A block of tokens in the window: lines of coded pages and of copies, of keys and of values."""

    coded: tuple[int, int]
    copies: tuple[int, int]


@dataclass(frozen=True)
class KvHead:
    """A KV head at a position.

    Attributes:
        memory: bytes.
        line: of its header.
        fields: the header.
        position: of the present token.
        shape: of the core.
    """

    memory: Memory
    line: int
    fields: dict[str, int]
    position: int
    shape: KvShape

    @property
    def channels(self) -> int:
        """Elements."""
        return self.fields["channels"] * UNIT

    @property
    def closed(self) -> int:
        """Blocks that are pages."""
        return closed(self.position, self.fields["residual"], self.shape.page_tokens)

    def top(self, side: int) -> int:
        """Largest exponent field of a side."""
        return self.fields[("key_top", "value_top")[side]]

    def slot(self, block: int) -> Slot:
        """Where a block lies in the window."""
        fields = self.fields
        first = fields["window"] + (block & fields["slots"] - 1) * fields["pitch"]
        coded, keys, values = (
            (first + fields[name]) % 2**32 for name in ("coded_values", "key_copy", "value_copy")
        )
        return Slot((first % 2**32, coded), (keys, values))

    def record(self, number: int) -> dict[str, int]:
        """A page's record."""
        line, place = divmod(number * RECORD_BYTES, LINE_BYTES)
        own = read(self.memory, (self.line + 1 + line) % 2**32, LINE_BYTES)
        return field_values(own[place : place + RECORD_BYTES].view("<u4"), RECORD)

    def raise_top(self, side: int, top: int) -> int:
        """Write ``top``; returns the byte that this takes."""
        field = next(field for field in HEAD if field.name == ("key_top", "value_top")[side])
        self.memory[self.line * LINE_BYTES + field.word * 4 + field.low // 8] = top
        return 1


def read_head(memory: Memory, fields: dict[str, int], position: int, shape: KvShape) -> KvHead:
    """The header, if the core can work with it."""
    own = field_values(read(memory, fields["head"], LINE_BYTES).view("<u4"), HEAD)
    head = KvHead(memory, fields["head"], own, position, shape)
    slots = own["slots"]
    possible = (
        0 < head.channels <= shape.channels
        and head.channels % max(WINDOW.group or 1, shape.rows) == 0
        and slots
        and slots & slots - 1 == 0
        and all(1 <= head.top(side) <= _MOST_TOP for side in range(2))
        and position < 1 << widths.CONTEXT_BITS
        and head.closed <= own["pages"]
    )
    if not possible:
        raise Fault(Status.BAD_PAGE)
    return head


def read(memory: Memory, line: int, count: int) -> Memory:
    """A copy of bytes from the beginning of a line."""
    if line * LINE_BYTES + count > len(memory):
        raise Fault(Status.OUTSIDE)
    return memory[line * LINE_BYTES :][:count].copy()
