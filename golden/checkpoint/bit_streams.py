"""Codes packed into words: dense streams of bits, lowest first."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["even_first", "unpack"]

_SLAB = 1 << 22


def unpack(words: NDArray, bits: int, count: int) -> NDArray[np.integer]:
    """The first ``count`` codes of each row of words ``[K, n]``, uint8 ``[K, count]``.

    A code may begin in one word and end in the next.
    """
    data = np.ascontiguousarray(words).view(np.uint8)
    if 8 % bits == 0:
        codes = data[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & ((1 << bits) - 1)
        return codes.reshape(len(data), -1)[:, :count]
    rows = max(_SLAB // (bits * max(count, 1)), 1)
    slabs = [_straddling(data[first : first + rows], bits, count) for first in range(0, len(data), rows)]
    return np.concatenate(slabs) if slabs else np.zeros((0, count), np.uint8)


def _straddling(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    single = np.unpackbits(data, axis=1, count=bits * count, bitorder="little")
    return np.packbits(single.reshape(len(data), count, bits), axis=-1, bitorder="little")[..., 0]


def even_first(data: NDArray[np.uint8]) -> NDArray[np.integer]:
    """Nibbles of bytes ``[..., n]``, the low one first: ``[..., 2 * n]``."""
    return np.stack([data & 15, data >> 4], -1).reshape(*data.shape[:-1], -1)
