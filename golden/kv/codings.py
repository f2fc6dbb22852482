"""Codings: how the codes of a page lie in its bytes, one table for the golden model and the circuits.

Codes are dense, least significant bit first, without padding inside; trits (codes 0, 1, 2) are five a byte
(``golden.numbers.trits``), the last byte filled up with zeros.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.numbers import trits
from golden.numbers.trits import TRITS

__all__ = ["CODINGS", "Coding", "get", "of_width", "pack", "unpack"]


class Coding(NamedTuple):
    """One way to lay codes out.

    Attributes:
        name: as reports and the hardware's enumeration have it.
        bits: width of an unpacked code.
        trits: five codes a byte instead of dense ones.
    """

    name: str
    bits: int
    trits: bool = False

    @property
    def packed_bits(self) -> float:
        """Bits of a packed code."""
        return 8 / TRITS if self.trits else self.bits

    def length(self, count: int) -> int:
        """Bytes of ``count`` packed codes, the last one filled up."""
        return -(-count // TRITS) if self.trits else -(-count * self.bits // 8)


CODINGS = (
    Coding("bits1", 1),
    Coding("trits", 2, True),
    Coding("bits2", 2),
    Coding("bits3", 3),
    Coding("bits4", 4),
    Coding("bits8", 8),
)
"""All codings; a circuit selects one by its place in this table."""


def get(name: str) -> Coding:
    """Look a coding up.

    Raises:
        ValueError: no such coding.
    """
    for coding in CODINGS:
        if coding.name == name:
            return coding
    raise ValueError(f"coding {name!r} must be one of {', '.join(coding.name for coding in CODINGS)}")


def of_width(bits: int) -> Coding:
    """The coding of dense codes of so many bits."""
    return get(f"bits{bits}")


def pack(codes: NDArray[np.uint8], coding: Coding) -> NDArray[np.uint8]:
    """Lay codes [..., n] out as bytes, uint8 [..., ``coding.length(n)``]; missing bits are 0.

    Raises:
        ValueError: a code that the coding does not have.
    """
    legal = 3 if coding.trits else 1 << coding.bits
    if codes.max(initial=0) >= legal:
        raise ValueError(f"codes reach {codes.max()}, must be 0..{legal - 1}")
    *leading, count = codes.shape
    if coding.trits:
        return trits.pack(codes)
    bits = np.unpackbits(codes[..., None], axis=-1, count=coding.bits, bitorder="little")
    return np.packbits(bits.reshape(*leading, count * coding.bits), axis=-1, bitorder="little")


def unpack(packed: NDArray[np.uint8], coding: Coding, count: int) -> NDArray[np.uint8]:
    """Read ``count`` codes back: uint8 [..., bytes] to uint8 [..., count].

    Raises:
        ValueError: a wrong length, or an illegal byte of trits.
    """
    *leading, length = packed.shape
    if length != coding.length(count):
        raise ValueError(f"{length} bytes must be {coding.length(count)} for {count} codes")
    if coding.trits:
        return trits.unpack(packed)[..., :count]
    bits = np.unpackbits(packed, axis=-1, count=count * coding.bits, bitorder="little")
    return np.packbits(bits.reshape(*leading, count, coding.bits), axis=-1, bitorder="little")[..., 0]
