"""Pages: the quantised keys, or values, of P tokens of one KV head as the bytes of one burst.

A page is little endian, least significant bit first, without padding inside. Metadata comes first, so that a
reader has a group's scale before its codes.

=========  =======================  ==========================================================================
field      bits                     order and meaning
=========  =======================  ==========================================================================
scale      16 (32: hqq, kvquant)    one float a group; absent for ``ternary_published``
           for each group
zero       as scale                 one float a group; absent for ``kvtuner_symmetric``, signs and trits
codes      b P D, or five trits     keys: tokens in blocks of 32; of a block all 32 codes of channel 0, then
           a byte                   of channel 1, ..; values: all D codes of token 0, then of token 1, ..
=========  =======================  ==========================================================================

Metadata is in the order [P, D / group] (axis token) or [P / group, D] (axis channel), last index fastest.
The outputs of a key page are its tokens, those of a value page its channels: either way the codes that meet
the same activation lie side by side. Trits (codes 0, 1, 2) are base-3 digits of a byte, the first one least
significant; the last byte is filled up with zeros, and bytes above 242 are illegal.

Worked example: keys, P = 32, D = 2, rule native, 2 bits, axis channel, group 32. Channel 0 is 0, 1, 2, 3
eight times over (scale 1, zero 0), channel 1 is 0.5 everywhere (scale 0, zero 0.5). The page has 24 bytes:

    00 3c 00 00                scales 1.0 and 0.0
    00 00 00 38                zeros 0.0 and 0.5
    e4 e4 e4 e4 e4 e4 e4 e4    channel 0, four codes 0 1 2 3 a byte
    00 00 00 00 00 00 00 00    channel 1
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.packet import TRITS

__all__ = ["PAGE_TOKENS", "SIDES", "PageLayout"]

PAGE_TOKENS = (32, 64)
SIDES = ("key", "value")
_BLOCK = 32
_PLACES = 3 ** np.arange(TRITS)
_TRIT_BYTES = 3**TRITS


@dataclass(frozen=True)
class PageLayout:
    """Where everything in a page is.

    Attributes:
        format: how its elements are quantised.
        side: "key" or "value", which decides about the order of the codes.
        tokens: P, 32 or 64.
        channels: D, elements of a head.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    format: Format
    side: str
    tokens: int = 32
    channels: int = 128

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side {self.side!r} must be one of {', '.join(SIDES)}")
        if self.tokens not in PAGE_TOKENS:
            raise ValueError(f"page tokens {self.tokens} must be 32 or 64")
        if self.channels < 1:
            raise ValueError(f"channels {self.channels} must be at least 1")
        self.format.groups(self.tokens, self.channels)

    @property
    def elements(self) -> int:
        """Elements of a page."""
        return self.tokens * self.channels

    @property
    def groups(self) -> int:
        """Groups of a page."""
        return math.prod(self.format.groups(self.tokens, self.channels))

    @property
    def metadata_bytes(self) -> int:
        """Bytes before the codes."""
        return self.groups * sum(kind.itemsize for _, kind in self.format.fields)

    @property
    def bytes(self) -> int:
        """Length of a page."""
        if self.format.kind == "ternary":
            return self.metadata_bytes + -(-self.elements // TRITS)
        return self.metadata_bytes + self.elements * self.format.bits // 8

    @property
    def bits_per_element(self) -> float:
        """Bits of an element, its share of the metadata included."""
        return 8 * self.bytes / self.elements

    def pack(self, quantized: Quantized) -> NDArray[np.uint8]:
        """Lay quantised pages out.

        Args:
            quantized: codes [..., P, D], with metadata of the shape that ``Format.quantize`` returns.

        Returns:
            uint8 [..., bytes].

        Raises:
            ValueError: a shape that does not fit, or an illegal code.
        """
        codes = quantized.codes
        if codes.shape[-2:] != (self.tokens, self.channels):
            raise ValueError(f"codes of shape {codes.shape} must be [..., {self.tokens}, {self.channels}]")
        legal = 3 if self.format.kind == "ternary" else 1 << self.format.bits
        if codes.max(initial=0) >= legal:
            raise ValueError(f"codes reach {codes.max()}, must be 0..{legal - 1}")
        leading = codes.shape[:-2]
        expected = (*leading, *self.format.groups(self.tokens, self.channels))
        parts = []
        for name, kind in self.format.fields:
            field = getattr(quantized, name)
            if field.shape != expected:
                raise ValueError(f"{name} has shape {field.shape}, must be {expected}")
            flat = np.ascontiguousarray(field, kind).reshape(*leading, self.groups)
            parts.append(flat.view(np.uint8))
        return np.concatenate([*parts, self._packed(self._ordered(codes))], -1)

    def unpack(self, pages: NDArray[np.uint8]) -> Quantized:
        """Read pages back: the inverse of ``pack``; an absent zero is all zeros, an absent scale all ones.

        Raises:
            ValueError: a wrong length, or an illegal byte of trits.
        """
        if pages.shape[-1] != self.bytes:
            raise ValueError(f"page length {pages.shape[-1]} bytes must be {self.bytes}")
        leading = pages.shape[:-1]
        shape = (*leading, *self.format.groups(self.tokens, self.channels))
        fields = {"scale": np.ones(shape, np.float16), "zero": np.zeros(shape, np.float16)}
        first = 0
        for name, kind in self.format.fields:
            last = first + self.groups * kind.itemsize
            part = np.ascontiguousarray(pages[..., first:last]).view(kind)
            fields[name] = part.reshape(shape).astype(kind.newbyteorder("="))
            first = last
        return Quantized(self._restored(self._codes(pages[..., first:])), **fields)

    def _ordered(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes in the order of the page: [..., P, D] to [..., P * D]."""
        leading = codes.shape[:-2]
        if self.side == "key":
            codes = codes.reshape(*leading, self.tokens // _BLOCK, _BLOCK, self.channels).swapaxes(-1, -2)
        return codes.reshape(*leading, self.elements)

    def _restored(self, ordered: NDArray[np.uint8]) -> NDArray[np.uint8]:
        leading = ordered.shape[:-1]
        if self.side == "key":
            blocks = ordered.reshape(*leading, self.tokens // _BLOCK, self.channels, _BLOCK)
            ordered = blocks.swapaxes(-1, -2)
        return ordered.reshape(*leading, self.tokens, self.channels)

    def _packed(self, ordered: NDArray[np.uint8]) -> NDArray[np.uint8]:
        leading = ordered.shape[:-1]
        if self.format.kind == "ternary":
            groups = -(-self.elements // TRITS)
            padded = np.zeros((*leading, groups * TRITS), np.uint8)
            padded[..., : self.elements] = ordered
            return (padded.reshape(*leading, groups, TRITS) @ _PLACES).astype(np.uint8)
        bits = np.unpackbits(ordered[..., None], axis=-1, count=self.format.bits, bitorder="little")
        return np.packbits(
            bits.reshape(*leading, bits.shape[-2] * bits.shape[-1]), axis=-1, bitorder="little"
        )

    def _codes(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes in the order of the page."""
        leading = packed.shape[:-1]
        if self.format.kind == "ternary":
            if packed.max(initial=0) >= _TRIT_BYTES:
                raise ValueError(f"ternary byte {packed.max()} must be 0..{_TRIT_BYTES - 1}")
            digits = packed[..., None] // _PLACES % 3
            return digits.reshape(*leading, packed.shape[-1] * TRITS)[..., : self.elements].astype(np.uint8)
        bits = np.unpackbits(packed, axis=-1, bitorder="little")
        fields = bits.reshape(*leading, self.elements, self.format.bits)
        return np.packbits(fields, axis=-1, bitorder="little")[..., 0]
