"""A layer whose tokens lie in pages of classes (``golden.selection.classes``), as hardware keeps them.

Tokens wait in the window, read in 8 bits (``golden.kv.schemes.WINDOW``) beside a float16 copy, until a page
of them is full. Then a system gives them classes, and moves others. Keys and values lie multiplied by factors
of their channels, powers of two, which queries and outputs are divided by in turn; products saturate.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import WINDOW
from golden.selection.classes import LEFT, Classes, Pool
from golden.systems.layers.layer import Array, Layer

__all__ = ["PAGE", "Paged", "pools"]

PAGE = 32
"""Tokens of a page."""

_LARGEST = np.float32(65504)
_TOKENS = 8192
_HOLES = 2 * PAGE
_WINDOW_BITS = 9
"""Of an element in the window's format: 8, and 32 for every 32 elements."""

_FACTOR_BITS = 8
"""Of a power of two."""


def pools(formats: Sequence[tuple[Format, Format]], channels: int, pages: int) -> list[Pool]:
    """A pool for each class, with its formats of keys and values."""
    return [
        Pool(
            (
                PageLayout(key, "key", PAGE, channels),
                PageLayout(value, "value", PAGE, channels),
            ),
            range(pages),
        )
        for key, value in formats
    ]


class Paged(Layer):
    """Keys and values of one layer in pages.

    Args:
        heads, channels: H and D, a multiple of 32.
        formats: of keys and values, for each class.
        first: tokens before which no page is closed.

    Attributes:
        classes: of every head.
        key_factors, value_factors: float32 ``[H, 1, D]``.
        raw_keys, raw_values: what was appended, in float16's precision.
    """

    def __init__(
        self, heads: int, channels: int, formats: Sequence[tuple[Format, Format]], first: int = PAGE
    ) -> None:
        super().__init__(heads, channels)
        shared = pools(formats, channels, 2 * heads * _TOKENS // PAGE)
        self.classes = [Classes(shared) for _ in range(heads)]
        self.key_factors = self.value_factors = np.ones((heads, 1, channels), np.float32)
        self.raw_keys, self.raw_values = self.keys, self.values
        self._first = first

    @property
    def closed(self) -> int:
        """Tokens that have left the window."""
        return len(self.classes[0].map)

    @property
    def bits(self) -> int:
        """Bits of the classes, and of the factors; what waits for a page is there in 8 bits too."""
        waiting = sum(len(own.waiting(number).index) for own in self.classes for number in range(own.evicted))
        factors = 2 * _FACTOR_BITS * self.heads * self.channels
        return sum(own.bits for own in self.classes) + 2 * self.channels * waiting * _WINDOW_BITS + factors

    def append(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Add tokens, as of ``Layer``."""
        old = self.keys.shape[1]
        super().append(keys, values)
        self.raw_keys = np.concatenate([self.raw_keys, self.keys[:, old:]], 1)
        self.raw_values = np.concatenate([self.raw_values, self.values[:, old:]], 1)
        self._see(slice(old, None))

    def after(self, query: Array, weights: Array) -> None:
        """Close what fills pages."""
        if self.time < self._first or self.time % PAGE:
            return
        self.close(slice(self.closed, self.time))
        for head, own in enumerate(self.classes):
            self.kept[head, : self.time] = own.map < own.evicted
            for number in range(own.evicted):
                found, waiting = own.read(number), len(own.waiting(number).index)
                sides = [found.keys, found.values]
                if waiting:
                    for side in sides:
                        side[-waiting:] = WINDOW.decode(WINDOW.quantize(side[-waiting:]))
                self.keys[head, found.index] = sides[0] / self.key_factors[head]
                self.values[head, found.index] = sides[1] / self.value_factors[head]

    def close(self, tokens: slice) -> None:
        """Add the tokens of the window to classes: to the first one, unless a system knows better."""
        self.add(tokens, np.zeros((self.heads, tokens.stop - tokens.start), np.uint8))

    def add(self, tokens: slice, classes: NDArray[np.uint8]) -> None:
        """Add tokens to classes ``[H, n]``; factors that have changed hold for the window from now on."""
        lying = self._lying(tokens)
        for own, keys, values, chosen in zip(self.classes, *lying, classes, strict=True):
            own.append(keys, values, chosen)
        self._see(slice(tokens.stop, None))

    def compact(self, number: int) -> None:
        """Close holes of a class: while two pages' worth are open, the sparsest page moves to the end."""
        for own in self.classes:
            while True:
                left = [(page.tokens != LEFT).sum() for page in own.table(number)]
                if len(left) * PAGE - sum(left) < _HOLES:
                    break
                tokens = own.table(number)[int(np.argmin(left))].tokens
                own.move(tokens[tokens != LEFT], number)

    def _lying(self, tokens: slice) -> list[Array]:
        products = (
            (self.raw_keys[:, tokens], self.key_factors),
            (self.raw_values[:, tokens], self.value_factors),
        )
        return [np.clip(x * factors, -_LARGEST, _LARGEST) for x, factors in products]

    def _see(self, tokens: slice) -> None:
        """Tokens of the window as queries find them."""
        keys, values = self._lying(tokens)
        if keys.shape[1]:
            self.keys[:, tokens] = WINDOW.decode(WINDOW.quantize(keys)) / self.key_factors
            self.values[:, tokens] = WINDOW.decode(WINDOW.quantize(values)) / self.value_factors
