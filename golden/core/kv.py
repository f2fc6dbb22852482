"""Commands of the KV cache: append, close, attend. A KV head's state is in memory (``golden.core.state``).

Numbers are those of ``golden.kv.window`` and ``golden.attention``. Keys, values and queries are rounded from
float32 to float16, to nearest even, beyond the range to infinity; outputs are exact as float32. Keys and
values that are not finite count as the largest numbers of their sign, a NaN as the positive one.

A command that fails leaves memory and scratch memory as they were; the first of these decides:

* ``BAD_PAGE``: a head that cannot be: channels, slots, ``top`` or the number of queries out of range, a
  position beyond the longest context, fewer records than pages; or a page that cannot be closed;
* ``BAD_FIELD``: vectors beyond the end of scratch memory;
* ``OUTSIDE``: something to be read lies outside memory;
* ``BAD_PAGE``: a page that cannot be read.

What is written outside memory is dropped, word by word, with the status ``OUTSIDE``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.attention import engine, page, widths
from golden.attention.page import Page
from golden.attention.scores import fold
from golden.core.commands import LINE_BYTES, UNIT, Status
from golden.core.state import HEAD, RECORD, RECORD_BYTES, closed, field_values
from golden.kv import codings, window
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.kv.magnitudes import LARGEST
from golden.kv.pages import SIDES, PageLayout
from golden.kv.schemes import WINDOW
from golden.numbers.numerics import Numerics

__all__ = ["KvShape", "append", "attend", "close", "format_of"]

Memory = NDArray[np.uint8]
Vectors = NDArray[np.float32]

_MOST_TOP = 31


@dataclass(frozen=True)
class KvShape:
    """What a core is built for.

    Attributes:
        rows, lanes: of its array.
        page_tokens: P.
        channels: most elements of a head.
        queries: most query heads of a KV head.
        memory_bits: of a word of memory.
        numerics: widths.
    """

    rows: int
    lanes: int
    page_tokens: int
    channels: int
    queries: int
    memory_bits: int
    numerics: Numerics

    @property
    def word_bytes(self) -> int:
        """Bytes of a word of memory."""
        return self.memory_bits // 8

    def legal(self, form: Format | None, side: int, channels: int) -> bool:
        """Whether there can be a page: whole groups, whole chunks of the array, whole words of scales."""
        if form is None:
            return False
        group = form.group or 0
        length = channels if form.axis == "token" else self.page_tokens
        groups = self.page_tokens * channels // group
        return (
            length % group == 0
            and channels % (self.rows if side else self.lanes) == 0
            and groups * 16 % self.memory_bits == 0
        )

    def readable(self, form: Format | None, side: int, channels: int) -> bool:
        """Whether it is legal and the array can reduce its groups, or they are folded."""
        folded = form is not None and (form.axis == "token") == bool(side)
        short = form is not None and (form.group or 0) <= self.numerics.group
        return self.legal(form, side, channels) and (folded or short)

    def layout(self, form: Format, side: int, channels: int) -> PageLayout:
        """Of a page of a legal format."""
        return PageLayout(form, SIDES[side], self.page_tokens, channels, self.rows, self.lanes)

    def padded(self, layout: PageLayout) -> int:
        """Bytes of a page in whole words."""
        return -(-layout.bytes // self.word_bytes) * self.word_bytes


class _Fault(Exception):
    """A command ends with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class _Slot(NamedTuple):
    """A block of tokens in the window: lines of coded pages and of copies, of keys and of values."""

    coded: tuple[int, int]
    copies: tuple[int, int]


@dataclass(frozen=True)
class _Head:
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

    def slot(self, block: int) -> _Slot:
        """Where a block lies in the window."""
        fields = self.fields
        first = fields["window"] + (block & fields["slots"] - 1) * fields["pitch"]
        places = (0, fields["coded_values"]), (fields["key_copy"], fields["value_copy"])
        return _Slot(*(tuple((first + place) % 2**32 for place in pair) for pair in places))

    def record(self, number: int) -> dict[str, int]:
        """A page's record."""
        line, place = divmod(number * RECORD_BYTES, LINE_BYTES)
        own = _read(self.memory, (self.line + 1 + line) % 2**32, LINE_BYTES)
        return field_values(own[place : place + RECORD_BYTES].view("<u4"), RECORD)

    def raise_top(self, side: int, top: int) -> int:
        """Write ``top``; returns the byte that this takes."""
        field = next(field for field in HEAD if field.name == ("key_top", "value_top")[side])
        self.memory[self.line * LINE_BYTES + field.word * 4 + field.low // 8] = top
        return 1


def format_of(bits: int) -> Format | None:
    """The format that ``golden.core.state.format_bits`` stands for; None for one that there is not."""
    if bits & 7 >= len(codings.CODINGS):
        return None
    coding = codings.CODINGS[bits & 7]
    magnitude, axis, group = bits >> 3 & 1, ("token", "channel")[bits >> 4 & 1], 16 << (bits >> 5 & 3)
    if coding.trits:
        return Format("ternary_scaled", coding.bits, axis, group, (bits >> 8) / 256)
    of_magnitude = "sign" if coding.bits == 1 else "native_symmetric"
    return Format(of_magnitude if magnitude else "native", coding.bits, axis, group)


def append(
    memory: Memory, scratch: Vectors, fields: dict[str, int], position: int, shape: KvShape
) -> tuple[Status, int]:
    """A key or a value to the window.

    Args:
        memory: uint8, changed in place.
        scratch: float32.
        fields: of the command.
        position: of the token.
        shape: of the core.

    Returns:
        Status, and bytes written.
    """
    try:
        head = _head(memory, fields, position, shape)
        vector = _vectors(scratch, fields["source"], head.channels)
    except _Fault as fault:
        return fault.status, 0
    side, place = fields["side"], position % shape.page_tokens
    slot, layout = (
        head.slot(position // shape.page_tokens),
        shape.layout(WINDOW, fields["side"], head.channels),
    )
    places = (slot.coded[side], layout.bytes), (slot.copies[side], window.copy_bytes(layout))
    before = [_padded(memory, *place) for place in places]
    parts, others = [part.copy() for part in before], [~part for part in before]
    token = _finite(_halves(vector))
    for page_bytes, copy in (parts, others):
        top = window.append(page_bytes, copy, layout, place, token, head.top(side))
    results = [
        _write(memory, line, part, part == other)
        for (line, _), part, other in zip(places, parts, others, strict=True)
    ]
    written = sum(int((part == other).sum()) for part, other in zip(parts, others, strict=True))
    return max(results), written + head.raise_top(side, top)


def close(memory: Memory, fields: dict[str, int], position: int, shape: KvShape) -> tuple[Status, int]:
    """The oldest page of the window to the cache, if it is due.

    Args:
        memory: uint8, changed in place.
        fields: of the command.
        position: of the present token.
        shape: of the core.

    Returns:
        Status, and bytes written: 0 where nothing was due.
    """
    side = fields["side"]
    try:
        head = _head(memory, fields, position, shape)
        number = head.closed - 1
        if number < 0 or (position + 1 - head.fields["residual"]) % shape.page_tokens:
            return Status.DONE, 0
        record = head.record(number)
        form = format_of(record[f"{SIDES[side]}_format"])
        if form is None or not shape.legal(form, side, head.channels):
            raise _Fault(Status.BAD_PAGE)
        layout = shape.layout(form, side, head.channels)
        copy = _read(memory, head.slot(number).copies[side], window.copy_bytes(layout))
    except _Fault as fault:
        return fault.status, 0
    finite = _finite(copy.view("<f2")).astype("<f2").view(np.uint8)
    packed, top = window.close(finite, layout, head.top(side))
    written = np.zeros(shape.padded(layout), np.uint8)
    written[: len(packed)] = packed
    status = _write(memory, record[f"{SIDES[side]}s"], written, np.ones(len(written), bool))
    return status, len(written) + head.raise_top(side, top)


def attend(
    memory: Memory, scratch: Vectors, fields: dict[str, int], position: int, shape: KvShape
) -> tuple[Status, int]:
    """Attention of queries of one KV head on its pages and window.

    Args:
        memory: uint8.
        scratch: float32, changed in place.
        fields: of the command.
        position: of the present token.
        shape: of the core.

    Returns:
        Status, and 0 bytes written.
    """
    try:
        head = _head(memory, fields, position, shape)
        count = fields["queries"]
        if not 1 <= count <= shape.queries:
            raise _Fault(Status.BAD_PAGE)
        vectors = _vectors(scratch, fields["source"], count * head.channels)
        outputs = _vectors(scratch, fields["destination"], count * head.channels)
        query = fold(_halves(vectors).reshape(count, -1))
        state = engine.start(count, head.channels, head.top(1))
        for keys, values, first, last in list(_pages(head)):
            state, _ = engine.step(state, query, keys, values, shape.numerics, head.top(0), first, last)
    except _Fault as fault:
        return fault.status, 0
    outputs[:] = engine.finish(state, query).values.astype(np.float32).reshape(-1)
    return Status.DONE, 0


class _Stored(NamedTuple):
    """Pages of keys and values in memory, their formats, and their valid tokens."""

    lines: tuple[int, int]
    formats: tuple[Format | None, Format | None]
    first: int
    last: int


def _pages(head: _Head) -> Iterator[tuple[Page, Page, int, int]]:
    """Keys, values, and the first and last valid token of every page that the present token sees."""
    stored = list(_stored(head))
    found = [[_bytes_of(head, place, side) for side in range(2)] for place in stored]
    for own, place in zip(found, stored, strict=True):
        if any(part is None for part in own) or max(place.first, place.last) >= head.shape.page_tokens:
            raise _Fault(Status.BAD_PAGE)
        keys, values = (_page(head, place, side, part) for side, part in enumerate(own))
        yield keys, values, place.first, place.last


def _stored(head: _Head) -> Iterator[_Stored]:
    """Closed pages, then blocks of the window."""
    tokens = head.shape.page_tokens
    for number in range(head.closed):
        record = head.record(number)
        formats = format_of(record["key_format"]), format_of(record["value_format"])
        yield _Stored((record["keys"], record["values"]), formats, record["first"], record["last"])
    newest = head.position // tokens
    for block in range(head.closed, newest + 1):
        last = head.position % tokens if block == newest else tokens - 1
        yield _Stored(head.slot(block).coded, (WINDOW, WINDOW), 0, last)


def _bytes_of(head: _Head, stored: _Stored, side: int) -> Memory | None:
    """Bytes of a page, None where it has an impossible format; a word is read even then."""
    shape, form = head.shape, stored.formats[side]
    if form is None or not shape.legal(form, side, head.channels):
        _read(head.memory, stored.lines[side], shape.word_bytes)
        return None
    layout = shape.layout(form, side, head.channels)
    own = _read(head.memory, stored.lines[side], shape.padded(layout))
    return own[: layout.bytes] if shape.readable(form, side, head.channels) else None


def _page(head: _Head, stored: _Stored, side: int, own: Memory) -> Page:
    """A page as the engine reads it; of tokens that are not valid any bytes will do."""
    form = stored.formats[side]
    assert form is not None
    try:
        quantized = head.shape.layout(form, side, head.channels).unpack(own)
        if form.axis == "token":
            tokens = np.arange(head.shape.page_tokens)
            valid = (stored.first <= tokens) & (tokens <= stored.last)
            parts = (np.where(valid[:, None], part, 0).astype(part.dtype) for part in quantized)
            quantized = Quantized(*parts)
        return page.read(form, quantized)
    except ValueError:
        raise _Fault(Status.BAD_PAGE) from None


def _head(memory: Memory, fields: dict[str, int], position: int, shape: KvShape) -> _Head:
    """The header, if the core can work with it."""
    own = field_values(_read(memory, fields["head"], LINE_BYTES).view("<u4"), HEAD)
    head = _Head(memory, fields["head"], own, position, shape)
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
        raise _Fault(Status.BAD_PAGE)
    return head


def _vectors(scratch: Vectors, first: int, count: int) -> Vectors:
    """A part of scratch memory."""
    if first + count > len(scratch):
        raise _Fault(Status.BAD_FIELD)
    return scratch[first : first + count]


def _halves(x: Vectors) -> NDArray[np.float16]:
    """Rounded to float16."""
    with np.errstate(over="ignore"):
        return np.where(np.isnan(x), np.float32(np.nan), x).astype(np.float16)


def _finite(half: NDArray) -> NDArray[np.float16]:
    """Numbers that are not finite become the largest ones of their sign."""
    largest = np.copysign(np.float16(LARGEST), half)
    return np.where(np.isfinite(half), half, largest).astype(np.float16)


def _read(memory: Memory, line: int, count: int) -> Memory:
    """A copy of bytes from the beginning of a line."""
    if line * LINE_BYTES + count > len(memory):
        raise _Fault(Status.OUTSIDE)
    return memory[line * LINE_BYTES :][:count].copy()


def _padded(memory: Memory, line: int, count: int) -> Memory:
    """Likewise, zeros where memory has ended."""
    own = memory[line * LINE_BYTES :][:count]
    return np.pad(own, (0, count - len(own)))


def _write(memory: Memory, line: int, data: Memory, enables: NDArray[np.bool_]) -> Status:
    """Write some bytes; those outside memory are dropped."""
    own = memory[line * LINE_BYTES :][: len(data)]
    np.copyto(own, data[: len(own)], where=enables[: len(own)])
    return Status.OUTSIDE if enables[len(own) :].any() else Status.DONE
