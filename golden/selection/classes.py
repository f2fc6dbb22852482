"""Classes of tokens: which class a token of one KV head is in, and the pages of each class's own formats.

    append    tokens enter their class: they wait, in float16, until P of them fill a page
    move      tokens leave their pages for the end of another class, or are dropped

A class keeps tokens in the order in which they came: those of one ``append`` in token order, those of one
``move`` in the order in which attention finds them. A page is quantised once, when it is full, and never
written again. A token that left it leaves a hole, which the page's mask tells; when the last one has left,
the page is given back. Moving the tokens of a sparse page to their own class closes its holes.

Classes are ordered: a token moves to its own class or a later one, since what it lost does not come back.
What moves is decoded to float16, with one rounding (``Format.decode_half``), or is float16 still.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout

__all__ = ["LEFT", "Classes", "Page", "Pool", "Tokens", "packed"]

LEFT = -1
"""In place of the token that has left a page."""

_POINTER_BITS = 32
_INDEX_BITS = 16
_HALF_BITS = 16


def packed(classes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """The map as it lies in memory: ``bits`` a token, 1 or 2, the lowest places first.

    Args:
        classes: ``[T]``, each below 2^bits.
        bits: 1 or 2.

    Returns:
        uint8, the last byte filled up with zeros.

    Raises:
        ValueError: a class that does not fit.
    """
    numbers = np.asarray(classes, np.uint8)
    if bits not in (1, 2) or numbers.max(initial=0) >> bits:
        raise ValueError(f"classes up to {numbers.max(initial=0)} must fit in {bits} bits, 1 or 2")
    return np.packbits(numbers[:, None] >> np.arange(bits) & 1, bitorder="little")


class Pool:
    """Memory of a class, for any number of heads: page ``n`` lies at byte ``n * pitch``, keys before values.

    Args:
        layouts: of the keys and of the values of a page.
        free: numbers of the free pages, in the order in which they are taken.

    Attributes:
        memory: uint8 ``[pages, pitch]``.
        free: pages that are given back join its end.

    Raises:
        ValueError: a number that is negative or there twice.
    """

    def __init__(self, layouts: tuple[PageLayout, PageLayout], free: Iterable[int]) -> None:
        numbers = [int(number) for number in free]
        if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
            raise ValueError("free pages must be different numbers from 0 up")
        self.layouts, self.free = layouts, deque(numbers)
        pitch = sum(layout.bytes for layout in layouts)
        self.memory = np.zeros((max(numbers, default=-1) + 1, pitch), np.uint8)

    def write(self, sides: Sequence[Quantized]) -> int:
        """Fill the next free page; returns its number."""
        number = self.free.popleft()
        packed = [layout.pack(side) for layout, side in zip(self.layouts, sides, strict=True)]
        self.memory[number] = np.concatenate(packed)
        return number

    def read(self, number: int) -> list[Quantized]:
        """Keys and values of a page."""
        parts = np.split(self.memory[number], [self.layouts[0].bytes])
        return [layout.unpack(part) for layout, part in zip(self.layouts, parts, strict=True)]

    def release(self, number: int) -> None:
        """Give a page back."""
        self.free.append(number)


class Page(NamedTuple):
    """A row of a page table.

    Attributes:
        number: of the page in its pool.
        tokens: intp ``[P]``, ``LEFT`` where one has left; the mask of a circuit is ``tokens != LEFT``.
    """

    number: int
    tokens: NDArray[np.intp]


class Tokens(NamedTuple):
    """Some tokens: their indices, intp ``[n]``, keys and values ``[n, D]``."""

    index: NDArray[np.intp]
    keys: NDArray
    values: NDArray

    def only(self, rows: NDArray | slice) -> "Tokens":
        """Some of them."""
        return Tokens(*(part[rows] for part in self))


@dataclass
class _Class:
    pool: Pool
    table: list[Page]
    waiting: Tokens


class Classes:
    """The tokens of one KV head.

    Args:
        pools: one for each class, the best first; heads may share them. One to three.

    Attributes:
        map: uint8 ``[T]``, class of every token; ``evicted`` for those that were dropped.
        top: int64 ``[2 sides]``, largest exponent field of any step and offset so far, 1..31; it never falls.

    Raises:
        ValueError: another number of classes, or pages of different sizes.
    """

    def __init__(self, pools: Sequence[Pool]) -> None:
        shapes = {(layout.tokens, layout.channels) for pool in pools for layout in pool.layouts}
        if not 1 <= len(pools) <= 3 or len(shapes) > 1:
            raise ValueError(f"{len(pools)} classes of pages {sorted(shapes)} must be 1..3 of one size")
        ((self.page_tokens, self.channels),) = shapes
        none = np.zeros((0, self.channels), np.float16)
        self._classes = [_Class(pool, [], Tokens(np.zeros(0, np.intp), none, none)) for pool in pools]
        self.map = np.zeros(0, np.uint8)
        self.top = np.ones(len(SIDES), np.int64)

    @property
    def evicted(self) -> int:
        """What the map has for tokens that were dropped."""
        return len(self._classes)

    @property
    def bits(self) -> int:
        """Bits in memory: pages, what waits, the map, of each page its mask and a pointer, and indices."""
        result = self.evicted.bit_length() * len(self.map)
        for own in self._classes:
            page = 8 * own.pool.memory.shape[1] + (1 + _INDEX_BITS) * self.page_tokens + _POINTER_BITS
            waiting = 2 * _HALF_BITS * self.channels + _INDEX_BITS
            result += len(own.table) * page + len(own.waiting.index) * waiting
        return result

    def table(self, number: int) -> list[Page]:
        """The page table of a class, in the order of attention."""
        return list(self._classes[number].table)

    def waiting(self, number: int) -> Tokens:
        """Tokens of a class that fill no page yet, float16."""
        return self._classes[number].waiting

    def order(self, number: int) -> NDArray[np.intp]:
        """Indices ``[n]`` of the tokens of a class, in the order of attention."""
        own = self._classes[number]
        found = [page.tokens[page.tokens != LEFT] for page in own.table]
        return np.concatenate([*found, own.waiting.index])

    def read(self, number: int) -> Tokens:
        """Tokens of a class as attention finds them, page after page, those that wait last: float32."""
        own = self._classes[number]
        formats = [layout.format for layout in own.pool.layouts]
        parts = [
            Tokens(page.tokens, *map(Format.decode, formats, own.pool.read(page.number)))
            for page in own.table
        ]
        found = [part.only(part.index != LEFT) for part in parts]
        waiting = (own.waiting.index, *(side.astype(np.float32) for side in own.waiting[1:]))
        return _joined([*found, Tokens(*waiting)])

    def append(self, keys: ArrayLike, values: ArrayLike, classes: ArrayLike) -> None:
        """Add tokens.

        Args:
            keys, values: real ``[n, D]``, rounded to float16.
            classes: ``[n]`` or one number for all: a class each; ``evicted`` keeps nothing of a token.

        Raises:
            ValueError: a shape or class that does not fit, an element that is not finite in float16, or no
                free page; nothing is added then.
        """
        sides = [magnitudes.finite_half(x) for x in (keys, values)]
        count = len(sides[0])
        if any(side.shape != (count, self.channels) for side in sides):
            shapes = ", ".join(str(side.shape) for side in sides)
            raise ValueError(f"keys and values of shapes {shapes} must be [n, {self.channels}]")
        chosen = np.broadcast_to(np.asarray(classes), count)
        if not np.isin(chosen, range(self.evicted + 1)).all():
            raise ValueError(f"classes {np.unique(chosen).tolist()} must be 0..{self.evicted}")
        new = Tokens(np.arange(len(self.map), len(self.map) + count), *sides)
        for number in range(self.evicted):
            self._need(number, int((chosen == number).sum()))
        self.map = np.concatenate([self.map, chosen.astype(np.uint8)])
        for number in range(self.evicted):
            self._add(number, new.only(chosen == number))

    def move(self, tokens: ArrayLike, target: int) -> None:
        """Take tokens out of their classes and add them to another, or drop them.

        The source classes are visited in order, and of each its pages, then the tokens that wait. Pages are
        taken before any is given back.

        Args:
            tokens: ``[n]`` indices, any order, none twice.
            target: class, not before that of any of the tokens, or ``evicted``.

        Raises:
            ValueError: tokens that are unknown, there twice, dropped or of a later class; or no free page;
                nothing is moved then.
        """
        wanted = np.asarray(tokens, np.intp)
        if len(np.unique(wanted)) < len(wanted) or not np.isin(wanted, np.arange(len(self.map))).all():
            raise ValueError(f"tokens {wanted.tolist()} must be different ones of {len(self.map)}")
        own = self.map[wanted]
        if not 0 <= target <= self.evicted or (own > target).any() or (own == self.evicted).any():
            raise ValueError(f"target {target} must be a class not before {np.unique(own).tolist()}")
        if target < self.evicted:
            self._need(target, len(wanted))
        leaving = _joined([self._take(number, wanted) for number in range(min(target + 1, self.evicted))])
        self.map[wanted] = target
        if target < self.evicted:
            self._add(target, leaving)
        for each in self._classes:
            for page in [page for page in each.table if (page.tokens == LEFT).all()]:
                each.pool.release(page.number)
            each.table = [page for page in each.table if (page.tokens != LEFT).any()]

    def _take(self, number: int, wanted: NDArray[np.intp]) -> Tokens:
        """Leave holes where tokens of a class were; returns what they held, float16."""
        own, parts = self._classes[number], []
        formats = [layout.format for layout in own.pool.layouts]
        for page in own.table:
            rows = np.isin(page.tokens, wanted)
            if rows.any():
                halves = map(Format.decode_half, formats, own.pool.read(page.number))
                parts.append(Tokens(page.tokens.copy(), *halves).only(rows))
                page.tokens[rows] = LEFT
        rows = np.isin(own.waiting.index, wanted)
        parts.append(own.waiting.only(rows))
        own.waiting = own.waiting.only(~rows)
        return _joined(parts)

    def _need(self, number: int, count: int) -> None:
        """Refuse so many more tokens of a class if its pool has no pages for them."""
        own = self._classes[number]
        pages = (len(own.waiting.index) + count) // self.page_tokens
        if pages > len(own.pool.free):
            raise ValueError(f"{pages} pages of class {number} needed, only {len(own.pool.free)} free")

    def _add(self, number: int, new: Tokens) -> None:
        """Let tokens wait, and close the pages that are full."""
        own, size = self._classes[number], self.page_tokens
        own.waiting = _joined([own.waiting, new])
        while len(own.waiting.index) >= size:
            full, own.waiting = own.waiting.only(slice(size)), own.waiting.only(slice(size, None))
            quantized = [
                layout.format.quantize(side) for layout, side in zip(own.pool.layouts, full[1:], strict=True)
            ]
            fields = [
                layout.format.largest_field(side.scale, side.zero)
                for layout, side in zip(own.pool.layouts, quantized, strict=True)
            ]
            self.top = np.maximum(self.top, fields)
            own.table.append(Page(own.pool.write(quantized), full.index))


def _joined(parts: Sequence[Tokens]) -> Tokens:
    return Tokens(*(np.concatenate(own) for own in zip(*parts, strict=True)))
