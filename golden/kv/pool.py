"""Pages of one side of a cache by their numbers, which say where a page lies in a memory."""

from collections.abc import Iterable, Iterator
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

__all__ = ["PagePool"]


class PagePool:
    """Pages that are written once and never given back.

    Args:
        page_bytes: length of a page.
        free: numbers of the pages that may be written, in the order in which they are taken; None: as many
            as are needed, the lowest first.

    Raises:
        ValueError: a number twice, or below 0.
    """

    def __init__(self, page_bytes: int, free: Iterable[int] | None = None) -> None:
        self._free = None if free is None else [int(number) for number in free]
        own = self._free or []
        if len(set(own)) < len(own) or min(own, default=0) < 0:
            raise ValueError("free pages must be different numbers from 0 up")
        self._places: dict[int, int] = {}  # of a page's number in the memory
        self._memory = np.zeros((0, page_bytes), np.uint8)

    def check(self, wanted: int) -> None:
        """Refuse more pages than are free.

        Raises:
            ValueError: there are fewer than ``wanted``.
        """
        left = wanted if self._free is None else sum(1 for _ in self._unused())
        if wanted > left:
            raise ValueError(f"{wanted} pages needed, only {left} free")

    def take(self, wanted: int) -> list[int]:
        """Numbers of the next free pages.

        Raises:
            ValueError: there are fewer than ``wanted``.
        """
        self.check(wanted)
        return list(islice(self._unused(), wanted))

    def write(self, numbers: Iterable[int], pages: NDArray[np.uint8]) -> None:
        """Write pages [n, page_bytes] of these numbers, which have not been written, free or not."""
        first = len(self._places)
        self._places |= {number: first + place for place, number in enumerate(numbers)}
        if len(self._places) > len(self._memory):
            grown = np.zeros((2 * len(self._places), self._memory.shape[1]), np.uint8)
            grown[:first] = self._memory[:first]
            self._memory = grown
        self._memory[first : len(self._places)] = pages

    def read(self, numbers: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Pages of numbers that have been written: uint8 [..., page_bytes]."""
        places = [self._places[number] for number in numbers.ravel().tolist()]
        return self._memory[np.array(places, np.intp).reshape(numbers.shape)]

    def _unused(self) -> Iterator[int]:
        numbers = count() if self._free is None else self._free
        return (number for number in numbers if number not in self._places)
