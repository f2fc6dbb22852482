"""Row blocks of a packed matrix as single bits: how ``golden.weights.layout`` moves the numbers."""

import numpy as np

from golden.numbers import trits
from golden.numbers.trits import TRITS
from golden.weights.packet import CHANNEL_FIELDS, Packet

__all__ = ["SIGNED_FIELDS", "Arrays", "block_arrays", "block_bits", "in_blocks", "out_of_blocks"]

Arrays = dict[str, np.ndarray]
"""Named fields: codes [blocks, rows, inputs], metadata [blocks, groups, rows], channels [blocks, rows]."""

SIGNED_FIELDS = ("offset_mantissa", "channel_exponent")


def in_blocks(arrays: Arrays, packet: Packet) -> Arrays:
    """Fill up the rows and split them into blocks, with the rows of metadata innermost."""
    blocks = {}
    for name, array in arrays.items():
        extra = packet.blocks * packet.rows - packet.outputs
        padded = np.pad(array, [(0, extra)] + [(0, 0)] * (array.ndim - 1))
        split = padded.reshape(packet.blocks, packet.rows, *array.shape[1:])
        blocks[name] = split.swapaxes(1, 2) if array.ndim == 2 and name != "codes" else split
    return blocks


def out_of_blocks(arrays: Arrays, packet: Packet) -> Arrays:
    """The inverse of ``in_blocks``."""
    whole = {}
    for name, array in arrays.items():
        split = array.swapaxes(1, 2) if array.ndim == 3 and name != "codes" else array
        whole[name] = split.reshape(-1, *split.shape[2:])[: packet.outputs]
    return whole


def _group_runs(packet: Packet) -> tuple[tuple[slice, int], ...]:
    """Groups of equal length: (their numbers, elements of each)."""
    last = packet.groups - 1
    shorter = (slice(last, last + 1), packet.last_inputs)
    return ((slice(0, last), packet.group), shorter) if last else (shorter,)


def block_bits(arrays: Arrays, packet: Packet) -> np.ndarray:
    """Every bit of some row blocks, as uint8 [blocks, bits of a block]."""
    count = len(arrays["codes"])
    parts = []
    for run, inputs in _group_runs(packet):
        first, groups = run.start * packet.group, run.stop - run.start
        codes = arrays["codes"][:, :, first : first + groups * inputs]
        codes = codes.reshape(count, packet.rows, groups, inputs).transpose(0, 2, 3, 1)
        fields = [
            _code_bits(codes, packet) if name == "codes" else _bits(arrays[name][:, run], bits // packet.rows)
            for name, bits in packet.group_fields(inputs)
        ]
        parts.append(np.concatenate(fields, axis=2).reshape(count, -1))
    parts += [_bits(arrays[name], width) for name, width in CHANNEL_FIELDS]
    return np.concatenate(parts, axis=1)


def block_arrays(bits: np.ndarray, packet: Packet) -> Arrays:
    """The inverse of ``block_bits``."""
    arrays: dict[str, list[np.ndarray]] = {}
    count, start = len(bits), 0
    for run, inputs in _group_runs(packet):
        groups, fields = run.stop - run.start, packet.group_fields(inputs)
        stop = start + groups * packet.group_bits(inputs)
        edges = np.cumsum([width for _, width in fields])[:-1]
        parts = np.split(bits[:, start:stop].reshape(count, groups, packet.group_bits(inputs)), edges, axis=2)
        for (name, width), part in zip(fields, parts, strict=True):
            if name == "codes":
                values = (
                    _codes(part, packet)[:, :, :inputs].transpose(0, 3, 1, 2).reshape(count, packet.rows, -1)
                )
            else:
                values = _values(part, width // packet.rows, name in SIGNED_FIELDS)
            arrays.setdefault(name, []).append(values)
        start = stop
    merged = {name: np.concatenate(parts, 2 if name == "codes" else 1) for name, parts in arrays.items()}
    for name, width in CHANNEL_FIELDS:
        stop = start + packet.rows * width
        merged[name] = _values(bits[:, start:stop], width, name in SIGNED_FIELDS)
        start = stop
    return merged


def _code_bits(codes: np.ndarray, packet: Packet) -> np.ndarray:
    """Bits of whole groups of codes [blocks, groups, inputs, rows]."""
    blocks, groups, inputs, rows = codes.shape
    codes = np.pad(codes, ((0, 0), (0, 0), (0, -inputs % packet.lanes), (0, 0)))
    if packet.dtype.name != "ternary":
        return _bits(codes.reshape(blocks, groups, -1), packet.dtype.bits)
    packed = trits.pack(codes.reshape(blocks, groups, packet.chunks(inputs), packet.lanes * rows))
    bits = _bits(packed, 8)
    bits = np.pad(bits, [(0, 0)] * 3 + [(0, packet.chunk_bits - bits.shape[3])])
    return bits.reshape(blocks, groups, -1)


def _codes(bits: np.ndarray, packet: Packet) -> np.ndarray:
    """The inverse of ``_code_bits``, with the inputs still filled up to whole chunks."""
    blocks, groups = bits.shape[:2]
    if packet.dtype.name != "ternary":
        return _values(bits, packet.dtype.bits).reshape(blocks, groups, -1, packet.rows)
    size = packet.lanes * packet.rows
    length = 8 * -(-size // TRITS)
    packed = _values(bits.reshape(blocks, groups, -1, packet.chunk_bits)[..., :length], 8)
    return trits.unpack(packed)[..., :size].reshape(blocks, groups, -1, packet.rows)


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Expand the last axis to its bits, ``width`` an entry, least significant first."""
    entries = values.astype("u1" if width <= 8 else "<u2", order="C")
    # One long axis: NumPy unpacks many short ones ten times slower.
    bits = np.unpackbits(entries.reshape(-1).view(np.uint8), bitorder="little")
    return bits.reshape(-1, 8 * entries.itemsize)[:, :width].reshape(*values.shape[:-1], -1)


def _values(bits: np.ndarray, width: int, signed: bool = False) -> np.ndarray:
    """The inverse of ``_bits``, as int32."""
    entries = bits.reshape(*bits.shape[:-1], -1, width)
    pairs = np.packbits(entries, axis=-1, bitorder="little")
    pairs = np.pad(pairs, [(0, 0)] * (pairs.ndim - 1) + [(0, 2 - pairs.shape[-1])])
    values = pairs.view("<u2")[..., 0].astype(np.int32)
    return values - ((values >> width - 1) << width) if signed else values
