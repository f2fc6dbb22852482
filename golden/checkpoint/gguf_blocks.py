"""GGUF's types of blocks whose numbers are kvloom's: bytes of a matrix to ``Stored``.

A block is some elements of a row with their own scale. In the order of the bytes (fp16 scale ``d``, fp16
minimum ``m``; elements are numbered within the block):

======  ========  ==========================================================================================
type    elements  bytes
======  ========  ==========================================================================================
Q4_0          32  d, 16 with element j in the low nibble, j + 16 in the high one; d * (q - 8)
Q4_1          32  d, m, 16 likewise; d * q + m
Q5_0          32  d, 4 with the elements' fifth bits, 16 likewise; d * (q - 16)
Q5_1          32  d, m, 4, 16 likewise; d * q + m
Q8_0          32  d, 32 signed
Q1_0         128  d, 16 of single bits; d or, where the bit is 0, -d
Q2_0          64  d, 16 of two bits; d * (q - 1); in a fork's files 128, with 32 bytes
TQ1_0        256  48 and 4 of five and four base-3 digits (as fractions of 256), d; d * (q - 1)
TQ2_0        256  64 of two bits, 32 elements at a time, d; d * (q - 1)
MXFP4         32  E8M0 scale, 16 with j, j + 16; E2M1
NVFP4         64  four E4M3 scales, 4 times 8 with j, j + 8; E2M1
IQ4_NL        32  d, 16 with j, j + 16; d * one of 16 values
======  ========  ==========================================================================================

Bits and digits run from the lowest up, Q1_0's and Q2_0's element by element.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from golden.numbers import datatypes
from golden.weights.stored import Stored

__all__ = ["BLOCKS", "IQ4_NL", "e4m3", "e8m0"]

Bytes = NDArray[np.uint8]
Codes = NDArray[np.integer]
"""Type checkers lose the width of uint8 in arithmetic with constants."""

IQ4_NL = datatypes.table("iq4_nl", datatypes.IQ4_NL, "GGUF's IQ4_NL")


def _half(pair: Bytes) -> NDArray[np.float32]:
    """Two bytes ``[K, D, 2]`` as a number."""
    return np.ascontiguousarray(pair).view("<f2")[..., 0].astype(np.float32)


def _nibbles(data: Bytes) -> Codes:
    """Low nibbles, then high ones."""
    return np.concatenate([data & 15, data >> 4], -1)


def _joined(codes: Codes) -> Codes:
    return codes.reshape(len(codes), -1)


def _q4(blocks: Bytes, minimum: bool) -> Stored:
    start = 4 if minimum else 2
    offset = _half(blocks[..., 2:4]) if minimum else None
    codes = _joined(_nibbles(blocks[..., start:]))
    return Stored(codes, _half(blocks[..., :2]), 32, 4, zero=0 if minimum else 8, offset=offset)


def _q5(blocks: Bytes, minimum: bool) -> Stored:
    start = 4 if minimum else 2
    offset = _half(blocks[..., 2:4]) if minimum else None
    fifth = np.unpackbits(blocks[..., start : start + 4], axis=-1, bitorder="little")
    codes = _joined(_nibbles(blocks[..., start + 4 :]) | fifth << 4)
    return Stored(codes, _half(blocks[..., :2]), 32, 5, zero=0 if minimum else 16, offset=offset)


def _q8_0(blocks: Bytes) -> Stored:
    return Stored(_joined(blocks[..., 2:] ^ 128), _half(blocks[..., :2]), 32, 8, zero=128)


def _q1_0(blocks: Bytes) -> Stored:
    minus = _joined(np.unpackbits(~blocks[..., 2:], axis=-1, bitorder="little"))
    return Stored(minus, _half(blocks[..., :2]), 128, dtype=datatypes.get("binary"))


def _below_three(codes: Codes, scale: NDArray[np.float32], group: int) -> Stored:
    """Codes that mean q - 1: ternary ones where none is 3."""
    if codes.max(initial=0) > 2:
        return Stored(codes, scale, group, 2, zero=1)
    trits = np.array([2, 0, 1], np.uint8)  # -1, 0, +1 as ternary codes
    return Stored(trits[codes], scale, group, dtype=datatypes.get("ternary"))


def _q2_0(blocks: Bytes) -> Stored:
    codes = blocks[..., 2:, None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3
    return _below_three(_joined(codes), _half(blocks[..., :2]), 4 * (blocks.shape[-1] - 2))


def _tq2_0(blocks: Bytes) -> Stored:
    halves = blocks[..., :64].reshape(*blocks.shape[:2], 2, 1, 32)
    codes = halves >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    return _below_three(_joined(codes), _half(blocks[..., 64:]), 256)


def _tq1_0(blocks: Bytes) -> Stored:
    powers = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
    parts = []
    for first, last, digits in (0, 32, 5), (32, 48, 5), (48, 52, 4):
        shifted = blocks[..., None, first:last] * powers[:digits]  # modulo 256: digits above fall off
        parts.append((shifted.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(*blocks.shape[:2], -1))
    return _below_three(_joined(np.concatenate(parts, -1)), _half(blocks[..., 52:]), 256)


def e8m0(exponents: Bytes) -> NDArray[np.float32]:
    """Scales 2^(e - 127) for elements in units of one half, float32; code 255 is NaN."""
    return np.where(
        exponents == 255, np.nan, np.ldexp(np.float32(1), exponents.astype(np.int32) - 128)
    ).astype(np.float32)


def e4m3(codes: Bytes) -> NDArray[np.float32]:
    """E4M3 scales (OCP FP8 1.0) for elements in units of one half, float32; 127 and 255 are NaN."""
    exponent, fraction = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.int32)
    value = np.ldexp((fraction + 8 * (exponent > 0)).astype(np.float32), np.maximum(exponent, 1) - 11)
    value = np.where(codes & 127 == 127, np.nan, value)
    return np.where(codes > 127, -value, value).astype(np.float32)


def _mxfp4(blocks: Bytes) -> Stored:
    codes, scale = _joined(_nibbles(blocks[..., 1:])), e8m0(blocks[..., 0])
    return Stored(codes, scale, 32, dtype=datatypes.get("e2m1"), scale_format="e8m0")


def _nvfp4(blocks: Bytes) -> Stored:
    scale = e4m3(blocks[..., :4]).reshape(len(blocks), -1)
    codes = _nibbles(blocks[..., 4:].reshape(*blocks.shape[:2], 4, 8))
    return Stored(_joined(codes), np.nan_to_num(scale), 16, dtype=datatypes.get("e2m1"), scale_format="e4m3")


def _iq4_nl(blocks: Bytes) -> Stored:
    return Stored(_joined(_nibbles(blocks[..., 2:])), _half(blocks[..., :2]), 32, dtype=IQ4_NL)


BLOCKS: dict[str, Callable[[Bytes], Stored]] = {
    "Q4_0": lambda blocks: _q4(blocks, minimum=False),
    "Q4_1": lambda blocks: _q4(blocks, minimum=True),
    "Q5_0": lambda blocks: _q5(blocks, minimum=False),
    "Q5_1": lambda blocks: _q5(blocks, minimum=True),
    "Q8_0": _q8_0,
    "Q1_0": _q1_0,
    "Q2_0": _q2_0,
    "TQ1_0": _tq1_0,
    "TQ2_0": _tq2_0,
    "MXFP4": _mxfp4,
    "NVFP4": _nvfp4,
    "IQ4_NL": _iq4_nl,
}
"""From the type's name to what reads its blocks, uint8 ``[K, blocks of a row, bytes of a block]``."""
