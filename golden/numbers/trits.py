"""Five trits in a byte: 1.6 bits each, in a code that a few gates read.

Base-3 digits would take five subtractions to read. As densely packed decimals (Cowlishaw, IEE Proc. 2002) do
with digits, this code keeps trits (0, 1, 2) in fields of whole bits where it can and escapes where it cannot.
Trits t0, t1 and t2, t3 are pairs, t4 is single. A pair other than 2, 2 has three bits:

    first + 4 * second     second trit 0 or 1
    3 + 4 * first          second trit 2

and a byte is, from its upper bits to its lower ones,

=====  =====  =====  ============================
2      3      3      when
=====  =====  =====  ============================
t4     t3 t2  t1 t0  neither pair is 2, 2
3      t4     t3 t2  t1 t0 are 2, 2
3      4+t4   t1 t0  t3 t2 are 2, 2
3      3      t4     both are
=====  =====  =====  ============================

Five zeros are the byte 0. The 13 other bytes are illegal.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["TRITS", "byte_of", "is_legal", "pack", "unpack"]

TRITS = 5
"""Trits of a byte."""

_ESCAPE = 3


def byte_of(trits: tuple[int, ...]) -> int:
    """The byte of five trits 0..2."""
    low, high, single = trits[:2], trits[2:4], trits[4]
    if low == high == (2, 2):
        return _ESCAPE << 6 | 3 << 3 | single
    if low == (2, 2):
        return _ESCAPE << 6 | single << 3 | _pair(high)
    if high == (2, 2):
        return _ESCAPE << 6 | 4 + single << 3 | _pair(low)
    return single << 6 | _pair(high) << 3 | _pair(low)


def _pair(trits: tuple[int, ...]) -> int:
    first, second = trits
    return 3 + 4 * first if second == 2 else first + 4 * second


_COMBINATIONS = tuple(product(range(3), repeat=TRITS))
_BYTES = np.array([byte_of(trits) for trits in _COMBINATIONS], np.uint8)
_DECODED = np.zeros((256, TRITS), np.uint8)
_DECODED[_BYTES] = _COMBINATIONS
_LEGAL = np.zeros(256, bool)
_LEGAL[_BYTES] = True
_PLACES = 3 ** np.arange(TRITS)[::-1]  # of a combination in the table


def is_legal(byte: int) -> bool:
    """Whether a byte is one of the 243 that stand for trits."""
    return bool(_LEGAL[byte])


def pack(trits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay trits [..., n] out, uint8 [..., n / 5 rounded up]; the last byte is filled up with zeros.

    Raises:
        ValueError: a trit above 2.
    """
    if trits.max(initial=0) > 2:
        raise ValueError(f"trits reach {trits.max()}, must be 0..2")
    *leading, count = trits.shape
    length = -(-count // TRITS)
    padded = np.zeros((*leading, length * TRITS), np.uint8)
    padded[..., :count] = trits
    return _BYTES[padded.reshape(*leading, length, TRITS) @ _PLACES]


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read bytes [..., m] back: trits [..., 5 m].

    Raises:
        ValueError: an illegal byte.
    """
    illegal = ~_LEGAL[packed]
    if illegal.any():
        raise ValueError(f"byte 0x{packed[illegal][0]:02x} does not stand for five trits")
    *leading, length = packed.shape
    return _DECODED[packed].reshape(*leading, length * TRITS)
