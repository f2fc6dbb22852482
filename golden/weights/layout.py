"""Packed weights: a quantised matrix as the byte string that the hardware's unpacker reads.

A packet is a header of 256 bits and then row blocks of R = ``rows`` outputs, little endian, least significant
bit first, without padding; only the packet's end is zero-padded to whole words. The last row block is filled
up with zero rows. Everything after the header is made of *columns*: R entries of b bits, the entry of the
block's first row in the lowest bits. So every field starts at a multiple of R bits, the *granule*.

====================  ==========  ===========================================================================
field                 bits        meaning
====================  ==========  ===========================================================================
**header**            256
magic                 8           0x6b
version               8           1
dtype                 8           position in ``datatypes.names()``; 31: a table of 16 values, loaded apart
scale                 8           position in ``scales.FORMATS``
has_offset            1           groups carry an offset
keep_activations      1           the next packet uses the same activation vector
output                2           format of the results: 0 fp16, 1 bf16, 2 fp32
unsigned_codes        1           asymmetric types with an offset: zero points are 2**(b-1), not 0
reserved              3           0
rows                  8           R, outputs in a row block: 4, 8, 16 or 32
lanes                 8           L, inputs in a chunk: 4, 8 or 16
reserved              8           0
outputs               32          K
inputs                32          C
group                 16          elements of a full group, a multiple of L
groups                16          D = ceil(C / group)
last inputs           16          elements of the last group
blocks                16          row blocks, ceil(K / R)
specials              20          terms that "-0" stands for, 4 of 1 bit negative and 4 bits select
reserved              44          0
**row block**                     once for each R outputs
**- group**                       D times in a row block
selector              s           number of the group's special value; only with at least two of them
codes                 b           one column an input; zero codes fill the group up to whole chunks of L
scale mantissa        m           absent if the scale format has none (mantissa 1)
scale distance        d           absent if the scale format has none (distance 0)
zero                  b           2**(b-1) - zero_point; asymmetric types without an offset only
offset mantissa       12          two's complement; only with an offset
offset distance       5           only with an offset
channel exponent      8           two's complement; once a row block, after its last group
====================  ==========  ===========================================================================

Ternary codes are packed five a byte (``golden.numbers.trits``): the codes of a chunk (0, 1 or 2; all R rows
of the first column, then of the next) take ceil(R * L / 5) bytes, zero-padded to a whole granule. It is the
only field whose order depends on L.

Worked example: R = 4, L = 4, data type int4, scale int8, K = 2, C = 3, group 4; codes 1 2 3 and 4 5 6, scale
mantissas 200 and 100, channel exponents -3 and 1. The packet is 32 + 16 bytes:

    6b 01 07 00 00 04 04 00  02 00 00 00 03 00 00 00
    04 00 01 00 03 00 01 00  0d 00 00 00 00 00 00 00    header (0d: -0 is the term -8)
    41 00 52 00 63 00 00 00                             codes: inputs 0, 1, 2 and padding
    c8 64 00 00                                         scale mantissas
    fd 01 00 00                                         channel exponents
"""

from collections.abc import Iterator

import numpy as np

from golden.numbers.datatypes import DataType
from golden.weights.packet import CHANNEL_FIELDS, HEADER_BITS, Packet
from golden.weights.quantized import QuantizedWeights
from golden.weights.row_blocks import (
    SIGNED_FIELDS,
    Arrays,
    block_arrays,
    block_bits,
    in_blocks,
    out_of_blocks,
)

__all__ = ["pack", "unpack"]

_LONGEST_PADDING = 1023
_SLAB_BITS = 1 << 26


def pack(
    q: QuantizedWeights,
    rows: int = 8,
    lanes: int = 16,
    output: str = "fp16",
    keep_activations: bool = False,
    word_bits: int | None = None,
) -> bytes:
    """Lay a quantised matrix out for hardware with ``rows`` x ``lanes`` multipliers.

    Args:
        q: the matrix; ``q.group`` must be a multiple of ``lanes``.
        rows: outputs in a row block, as the hardware is configured.
        lanes: inputs in a chunk, as the hardware is configured.
        output: number format of the results: fp16, bf16 or fp32.
        keep_activations: the next packet is multiplied with the same activation vector.
        word_bits: the packet is padded to whole words of so many bits (default 64).

    Raises:
        ValueError: a field that its bits cannot hold, or an illegal argument; the message names it.
    """
    word_bits = 64 if word_bits is None else word_bits
    if word_bits not in (64, 128, 256, 512, 1024):
        raise ValueError(f"word_bits {word_bits} must be 64, 128, 256, 512 or 1024")
    outputs, inputs = q.shape
    has_offset = q.offset_mantissa is not None
    packet = Packet(
        dtype=q.dtype,
        scale=q.scale_format,
        outputs=outputs,
        inputs=inputs,
        group=q.group,
        rows=rows,
        lanes=lanes,
        has_offset=has_offset,
        keep_activations=keep_activations,
        output=output,
        unsigned_codes=has_offset and q.dtype.asymmetric and bool(q.zero_point.all()),
    )
    arrays = in_blocks(_stored(q, packet), packet)
    parts = [packet.header()]
    for slab in _slabs(packet):
        bits = block_bits({name: array[slab] for name, array in arrays.items()}, packet)
        parts.append(np.packbits(bits, bitorder="little").tobytes())
    data = b"".join(parts)
    return data + bytes(-len(data) % (word_bits // 8))


def unpack(buf: bytes, table: DataType | None = None) -> QuantizedWeights:
    """Read a packet back; the inverse of ``pack``.

    Args:
        buf: the packet.
        table: the type of 16 values that a packet of such a type has.

    Raises:
        ValueError: an illegal header, a wrong length or an illegal code; the message names the field.
    """
    packet = Packet.parse(buf, table)
    size = -(-packet.bits // 8)
    if len(buf) < size or len(buf) > size + _LONGEST_PADDING // 8 or any(buf[size:]):
        raise ValueError(f"packet length {len(buf)} bytes must be {size} and zero padding to a whole word")
    body = np.frombuffer(buf, np.uint8, offset=HEADER_BITS // 8)
    slabs = []
    for slab in _slabs(packet):
        first, last = (block * packet.block_bits for block in (slab.start, slab.stop))
        bits = np.unpackbits(body[first // 8 : -(-last // 8)], count=last - first, bitorder="little")
        slabs.append(block_arrays(bits.reshape(-1, packet.block_bits), packet))
    arrays = {name: np.concatenate([slab[name] for slab in slabs]) for name in slabs[0]}
    return _quantized(out_of_blocks(arrays, packet), packet)


def _stored(q: QuantizedWeights, packet: Packet) -> Arrays:
    """The arrays of a matrix by field name, checked: integers that the field's bits hold."""
    arrays = {
        "selector": q.selector,
        "scale_mantissa": q.scale_mantissa,
        "scale_distance": q.scale_distance,
        "zero": (1 << q.dtype.bits - 1) - q.zero_point.astype(np.int32),
        "channel_exponent": q.channel_exponent,
    }
    if packet.has_offset:
        arrays |= {"offset_mantissa": q.offset_mantissa, "offset_distance": q.offset_distance}
    widths = {name: bits // packet.rows for name, bits in packet.group_fields(0)} | dict(CHANNEL_FIELDS)
    for name, array in arrays.items():
        shape = (packet.outputs,) if name.startswith("channel") else (packet.outputs, packet.groups)
        _check_shape(name, array, shape)
        _check_range(name, array, widths.get(name), packet)
    _check_shape("codes", q.codes, q.shape)
    legal = len(q.dtype.integers)
    if q.codes.max() >= legal:
        raise ValueError(f"codes of {q.dtype.name} reach {q.codes.max()}, must be 0..{legal - 1}")
    return {"codes": q.codes} | {name: array for name, array in arrays.items() if name in widths}


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, must be {shape}")


def _check_range(name: str, array: np.ndarray, width: int | None, packet: Packet) -> None:
    """Check a field against its bits; one that is not stored must hold what ``unpack`` will say."""
    if width is None:
        zero = (1 << packet.dtype.bits - 1) - packet.fixed_zero_point
        absent = {"scale_mantissa": 1, "zero": zero}.get(name, 0)
        low, high = absent, absent
    else:
        low = -(1 << width - 1) if name in SIGNED_FIELDS else 0
        high = low + (1 << width) - 1
    if array.min() < low or array.max() > high:
        raise ValueError(f"{name} reaches {array.min()}..{array.max()}, must be {low}..{high}")


def _slabs(packet: Packet) -> Iterator[slice]:
    """Runs of row blocks that start at a whole byte and bound the memory that single bits take."""
    step = 2 * max(1, _SLAB_BITS // (2 * packet.block_bits))
    for first in range(0, packet.blocks, step):
        yield slice(first, min(first + step, packet.blocks))


def _quantized(arrays: Arrays, packet: Packet) -> QuantizedWeights:
    """Arrays by field name as a matrix, with what is not stored filled in."""
    shape = (packet.outputs, packet.groups)
    half = 1 << packet.dtype.bits - 1
    zero = arrays.get("zero", np.full(shape, half - packet.fixed_zero_point))
    return QuantizedWeights(
        dtype=packet.dtype,
        group=packet.group,
        scale_format=packet.scale,
        codes=arrays["codes"].astype(np.uint8),
        selector=arrays.get("selector", np.zeros(shape)).astype(np.uint8),
        scale_mantissa=arrays.get("scale_mantissa", np.ones(shape)).astype(np.uint16),
        scale_distance=arrays.get("scale_distance", np.zeros(shape)).astype(np.uint8),
        zero_point=(half - zero).astype(np.int16),
        offset_mantissa=arrays["offset_mantissa"].astype(np.int16) if packet.has_offset else None,
        offset_distance=arrays["offset_distance"].astype(np.uint8) if packet.has_offset else None,
        channel_exponent=arrays["channel_exponent"].astype(np.int16),
    )
