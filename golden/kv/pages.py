"""Pages: the quantised keys, or values, of P tokens of one KV head as the bytes of one burst.

A page is little endian, least significant bit first, without padding inside. Metadata comes first, so that a
reader has a group's scale before its codes.

=========  =======================  ==========================================================================
field      bits                     order and meaning
=========  =======================  ==========================================================================
scale      16 (32: hqq, kvquant)    one float a group; absent for ``ternary_published``
           for each group
zero       as scale                 one float a group; absent for the ``_symmetric`` rules, signs, trits,
                                    BitMoD's types and tables
selector   2 for each group         number of the group's special value; only BitMoD's types have it, and the
                                    last byte is filled up with zeros
codes      b P D, or five trits     chunk by chunk; of a chunk all codes of its first token, then of the next
           a byte
=========  =======================  ==========================================================================

Metadata is in the order [P, D / group] (axis token) or [P / group, D] (axis channel), last index fastest.

A chunk is what an array of ``rows`` x ``lanes`` multiplies at a time (``golden.kv.codings`` has its bits).
The outputs of a key page are its tokens, those of a value page its channels:

* keys: chunks of ``rows`` tokens x ``lanes`` channels, all channels of the first ``rows`` tokens first;
* values: chunks of ``lanes`` tokens x ``rows`` channels, all tokens of the first ``rows`` channels first.

Unsigned codes of 2, 3, 4 and 8 bits lie there as the array's codes for the integer ``code - 2^(bits - 1)``
(data types ``int2_asym`` to ``int8_asym``), signs, trits, BitMoD's codes and those of a table as they are.
The entries of a table are not in the page: whoever reads it has them from elsewhere.

Worked example: keys, P = 32, D = 2, rule native, 2 bits, axis channel, group 32, 8 rows, 2 lanes. Channel 0
is 0, 1, 2, 3 eight times over (scale 1, zero 0), channel 1 is 0.5 everywhere (scale 0, zero 0.5). The codes
0, 1, 2, 3 stand for the integers -2, -1, 0, 1 and are stored as 2, 3, 0, 1. The page has 24 bytes:

    00 3c 00 00                scales 1.0 and 0.0
    00 00 00 38                zeros 0.0 and 0.5
    ba 98 ba 98                tokens 0 to 7, two channels each: 2 2, 3 2, 0 2, 1 2, 2 2, 3 2, 0 2, 1 2
    ba 98 ba 98                tokens 8 to 15
    ba 98 ba 98                tokens 16 to 23
    ba 98 ba 98                tokens 24 to 31
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from golden.kv import codings
from golden.kv.affine import Quantized
from golden.kv.formats import Format

__all__ = ["PAGE_TOKENS", "SIDES", "PageLayout"]

PAGE_TOKENS = (32, 64)
SIDES = ("key", "value")


@dataclass(frozen=True)
class PageLayout:
    """Where everything in a page is.

    Attributes:
        format: how its elements are quantised.
        side: "key" or "value", which decides about the order of the codes.
        tokens: P, 32 or 64.
        channels: D, elements of a head.
        rows, lanes: outputs and inputs that the array multiplies at a time.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    format: Format
    side: str
    tokens: int = 32
    channels: int = 128
    rows: int = 8
    lanes: int = 16

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side {self.side!r} must be one of {', '.join(SIDES)}")
        if self.tokens not in PAGE_TOKENS:
            raise ValueError(f"page tokens {self.tokens} must be 32 or 64")
        if self.channels < 1:
            raise ValueError(f"channels {self.channels} must be at least 1")
        for axis, length, size in zip(("tokens", "channels"), self._shape, self._chunk, strict=True):
            if length % size:
                raise ValueError(f"{axis} {length} of a {self.side} page must be a multiple of {size}")
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
        numbers = sum(kind.itemsize for _, kind in self.format.fields)
        return self.groups * numbers + self._selectors

    @property
    def _selectors(self) -> int:
        """Bytes of selectors."""
        return -(-self.groups * self.format.selector_bits // 8)

    @property
    def bytes(self) -> int:
        """Length of a page."""
        return self.metadata_bytes + self.format.coding.length(self.elements)

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
        leading = codes.shape[:-2]
        expected = (*leading, *self.format.groups(self.tokens, self.channels))
        parts = []
        for name, kind in self.format.fields:
            field = getattr(quantized, name)
            if field.shape != expected:
                raise ValueError(f"{name} has shape {field.shape}, must be {expected}")
            flat = np.ascontiguousarray(field, kind).reshape(*leading, self.groups)
            parts.append(flat.view(np.uint8))
        if self._selectors:
            if quantized.selector.shape != expected:
                raise ValueError(f"selector has shape {quantized.selector.shape}, must be {expected}")
            parts.append(
                codings.pack(quantized.selector.reshape(*leading, self.groups), self._selector_coding)
            )
        if codes.max(initial=0) >= len(self.format.stored):
            raise ValueError(f"codes reach {codes.max()}, must be 0..{len(self.format.stored) - 1}")
        stored = self.format.stored[codes.reshape(*leading, self.elements)[..., self.order]]
        return np.concatenate([*parts, codings.pack(stored, self.format.coding)], -1)

    def unpack(self, pages: NDArray[np.uint8]) -> Quantized:
        """Read pages back: the inverse of ``pack``; an absent zero is all zeros, an absent scale all ones.

        Selectors come in the place of zeros.

        Raises:
            ValueError: a wrong length, or an illegal byte of trits.
        """
        if pages.shape[-1] != self.bytes:
            raise ValueError(f"page length {pages.shape[-1]} bytes must be {self.bytes}")
        leading = pages.shape[:-1]
        shape = (*leading, *self.format.groups(self.tokens, self.channels))
        fields: dict[str, NDArray] = {
            "scale": np.ones(shape, np.float16),
            "zero": np.zeros(shape, np.float16),
        }
        first = 0
        for name, kind in self.format.fields:
            last = first + self.groups * kind.itemsize
            part = np.ascontiguousarray(pages[..., first:last]).view(kind)
            fields[name] = part.reshape(shape).astype(kind.newbyteorder("="))
            first = last
        if self._selectors:
            last = first + self._selectors
            own = codings.unpack(pages[..., first:last], self._selector_coding, self.groups)
            fields["zero"], first = own.reshape(shape), last
        stored = codings.unpack(pages[..., first:], self.format.coding, self.elements)
        codes = np.empty_like(stored)
        codes[..., self.order] = np.argsort(self.format.stored).astype(np.uint8)[stored]
        return Quantized(codes.reshape(*leading, self.tokens, self.channels), **fields)

    @property
    def _selector_coding(self) -> codings.Coding:
        return codings.of_width(self.format.selector_bits)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.tokens, self.channels

    @property
    def _chunk(self) -> tuple[int, int]:
        """Tokens and channels of a chunk."""
        return (self.rows, self.lanes) if self.side == "key" else (self.lanes, self.rows)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Element ``token * D + channel`` at every place of the page's codes."""
        tokens, channels = self._chunk
        chunks = np.arange(self.elements).reshape(
            self.tokens // tokens, tokens, self.channels // channels, channels
        )
        return chunks.transpose((0, 2, 1, 3) if self.side == "key" else (2, 0, 1, 3)).ravel()
