"""Commands of the KV cache: append, close, attend. A KV head's state is in memory (``golden.core.state``).

Numbers are those of ``golden.kv.window`` and ``golden.attention``. Keys, values and queries are rounded from
float32 to float16, to nearest even, beyond the range to infinity; outputs are exact as float32. Keys and
values that are not finite count as the largest numbers of their sign, a NaN as the positive one.

A command that fails leaves memory and scratch memory as they were, but for outputs of the heads ahead of the
one on which ``attend`` fails; the first of these decides:

* ``BAD_PAGE``: a head that cannot be: channels, slots, ``top`` or the number of queries or of heads out of
  range, a position beyond the longest context, fewer records than pages; or a page that cannot be closed;
* ``BAD_FIELD``: vectors beyond the end of scratch memory;
* ``OUTSIDE``: something to be read lies outside memory;
* ``BAD_PAGE``: a page that cannot be read.

What is written outside memory is dropped, word by word, with the status ``OUTSIDE``.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.attention import engine, page
from golden.attention.page import Page
from golden.attention.scores import fold
from golden.core.commands import LINE_BYTES, Status
from golden.core.kv_head import Fault, KvHead, Memory, read, read_head
from golden.core.kv_shape import KvShape, format_of
from golden.kv import window
from golden.kv.formats import Format
from golden.kv.magnitudes import LARGEST
from golden.kv.pages import PAGE_TOKENS, SIDES, PageLayout
from golden.kv.schemes import WINDOW

__all__ = ["append", "attend", "close"]

Vectors = NDArray[np.float32]


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
        head = read_head(memory, fields, position, shape)
        vector = _vectors(scratch, fields["source"], head.channels)
    except Fault as fault:
        return fault.status, 0
    side, place = fields["side"], position % shape.page_tokens
    slot, layout = head.slot(position // shape.page_tokens), shape.layout(WINDOW, side, head.channels)
    places = (slot.coded[side], layout.bytes), (slot.copies[side], window.copy_bytes(layout))
    page_bytes, copy = (_padded(memory, *place) for place in places)
    top = window.append(page_bytes, copy, layout, place, _finite(_halves(vector)), head.top(side))
    own = _own_bytes(layout, place)
    results = [
        _write(memory, line, part, enables)
        for (line, _), part, enables in zip(places, (page_bytes, copy), own, strict=True)
    ]
    written = sum(int(enables.sum()) for enables in own)
    return max(results), written + head.raise_top(side, top)


@lru_cache(maxsize=4 * max(PAGE_TOKENS))
def _own_bytes(layout: PageLayout, place: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which bytes of the coded page and of the copy a token writes: those that do not stay as they were."""
    parts = []
    for fill in (0, 255):
        coded, copy = (np.full(size, fill, np.uint8) for size in (layout.bytes, window.copy_bytes(layout)))
        window.append(coded, copy, layout, place, np.zeros(layout.channels, np.float16))
        parts.append((coded, copy))
    (coded, copy), (other, other_copy) = parts
    return coded == other, copy == other_copy


def close(memory: Memory, fields: dict[str, int], position: int, shape: KvShape) -> tuple[Status, int]:
    """The oldest page of the window to the cache, if it is due ``ahead`` tokens later.

    Args:
        memory: uint8, changed in place.
        fields: of the command.
        position: of the present token.
        shape: of the core.

    Returns:
        Status, and bytes written: 0 where nothing was due.
    """
    side, position = fields["side"], (position + fields["ahead"]) % 2**32
    try:
        head = read_head(memory, fields, position, shape)
        number = head.closed - 1
        if number < 0 or (position + 1 - head.fields["residual"]) % shape.page_tokens:
            return Status.DONE, 0
        record = head.record(number)
        form = format_of(record[f"{SIDES[side]}_format"])
        if form is None or not shape.legal(form, side, head.channels):
            raise Fault(Status.BAD_PAGE)
        layout = shape.layout(form, side, head.channels)
        copy = read(memory, head.slot(number).copies[side], window.copy_bytes(layout))
    except Fault as fault:
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
    """Attention of queries of some KV heads, each on its own pages and window; one head after the other.

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
        source, destination = fields["source"], fields["destination"]
        for number in range(max(fields["heads"], 1)):
            line = (fields["head"] + number * fields["pitch"]) % 2**32
            head = read_head(memory, {"head": line}, position, shape)
            count = fields["queries"]
            if not fields["heads"] or not 1 <= count <= shape.queries:
                raise Fault(Status.BAD_PAGE)
            elements = count * head.channels
            vectors = _vectors(scratch, source, elements)
            outputs = _vectors(scratch, destination, elements)
            outputs[:] = _attend(head, vectors.reshape(count, -1))
            source, destination = source + elements, destination + elements
    except Fault as fault:
        return fault.status, 0
    return Status.DONE, 0


def _attend(head: KvHead, vectors: Vectors) -> Vectors:
    """Outputs of the queries [n, channels] of one KV head, one behind the other."""
    query = fold(_halves(vectors))
    state = engine.start(len(vectors), head.channels, head.top(1))
    for keys, values, first, last in list(_pages(head)):
        state, _ = engine.step(state, query, keys, values, head.shape.numerics, head.top(0), first, last)
    return engine.finish(state, query).values.astype(np.float32).reshape(-1)


class _Stored(NamedTuple):
    """Pages of keys and values in memory, their formats, and their valid tokens."""

    lines: tuple[int, int]
    formats: tuple[Format | None, Format | None]
    first: int
    last: int


def _pages(head: KvHead) -> Iterator[tuple[Page, Page, int, int]]:
    """Keys, values, and the first and last valid token of every page that the present token sees."""
    stored = list(_stored(head))
    found = [(_bytes_of(head, place, 0), _bytes_of(head, place, 1)) for place in stored]
    for (keys, values), place in zip(found, stored, strict=True):
        if keys is None or values is None or max(place.first, place.last) >= head.shape.page_tokens:
            raise Fault(Status.BAD_PAGE)
        yield _page(head, place, 0, keys), _page(head, place, 1, values), place.first, place.last


def _stored(head: KvHead) -> Iterator[_Stored]:
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


def _bytes_of(head: KvHead, stored: _Stored, side: int) -> Memory | None:
    """Bytes of a page, None where it has an impossible format; a word is read even then."""
    shape, form = head.shape, stored.formats[side]
    if form is None or not shape.legal(form, side, head.channels):
        read(head.memory, stored.lines[side], shape.word_bytes)
        return None
    layout = shape.layout(form, side, head.channels)
    own = read(head.memory, stored.lines[side], shape.padded(layout))
    return own[: layout.bytes] if shape.readable(form, side, head.channels) else None


def _page(head: KvHead, stored: _Stored, side: int, own: Memory) -> Page:
    """A page as the engine reads it; of tokens that are not valid any bytes will do."""
    form = stored.formats[side]
    assert form is not None
    try:
        quantized = head.shape.layout(form, side, head.channels).unpack(own)
        if form.axis == "token":
            tokens = np.arange(head.shape.page_tokens)[:, None]
            valid = (stored.first <= tokens) & (tokens <= stored.last)
            scale, zero = (np.where(valid, part, part.dtype.type(0)) for part in quantized[1:])
            quantized = quantized._replace(scale=scale, zero=zero)
        return page.read(form, quantized)
    except ValueError:
        raise Fault(Status.BAD_PAGE) from None


def _vectors(scratch: Vectors, first: int, count: int) -> Vectors:
    """A part of scratch memory."""
    if first + count > len(scratch):
        raise Fault(Status.BAD_FIELD)
    return scratch[first : first + count]


def _halves(x: Vectors) -> NDArray[np.float16]:
    """Rounded to float16."""
    with np.errstate(over="ignore"):
        return np.where(np.isnan(x), np.float32(np.nan), x).astype(np.float16)


def _finite(half: NDArray) -> NDArray[np.float16]:
    """Numbers that are not finite become the largest ones of their sign."""
    largest = np.copysign(np.float16(LARGEST), half)
    return np.where(np.isfinite(half), half, largest).astype(np.float16)


def _padded(memory: Memory, line: int, count: int) -> Memory:
    """Likewise, zeros where memory has ended."""
    own = memory[line * LINE_BYTES :][:count]
    return np.pad(own, (0, count - len(own)))


def _write(memory: Memory, line: int, data: Memory, enables: NDArray[np.bool_]) -> Status:
    """Write some bytes; those outside memory are dropped."""
    own = memory[line * LINE_BYTES :][: len(data)]
    np.copyto(own, data[: len(own)], where=enables[: len(own)])
    return Status.OUTSIDE if enables[len(own) :].any() else Status.DONE
