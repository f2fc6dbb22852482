"""Structure of a packed-weight packet: its header, and the order and width of its fields.

``golden.weights.layout`` documents the format and moves the numbers; this file only counts bits, so that the
packer and the hardware's unpacker are planned from one table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.scales import CHANNEL_EXPONENT_BITS, ScaleFormat
from golden.numbers.trits import TRITS

__all__ = [
    "CHANNEL_FIELDS",
    "HEADER_BITS",
    "HEADER_FIELDS",
    "MAGIC",
    "OUTPUTS",
    "TABLE_NUMBER",
    "VERSION",
    "Field",
    "Packet",
    "chunk_granules",
    "metadata_fields",
    "special_bits",
    "type_number",
]

MAGIC = 0x6B
VERSION = 1
TABLE_NUMBER = 31
"""Stands for a programmable table in the place of a type's number; its values are not in the packet."""
OUTPUTS = ("fp16", "bf16", "fp32")
_TERM_BITS = 5

HEADER_FIELDS = (
    ("magic", 8),
    ("version", 8),
    ("dtype", 8),
    ("scale", 8),
    ("has_offset", 1),
    ("keep_activations", 1),
    ("output", 2),
    ("unsigned_codes", 1),
    ("reserved_flags", 3),
    ("rows", 8),
    ("lanes", 8),
    ("reserved_byte", 8),
    ("outputs", 32),
    ("inputs", 32),
    ("group", 16),
    ("groups", 16),
    ("last_inputs", 16),
    ("blocks", 16),
    ("specials", 20),
    ("reserved_end", 44),
)
HEADER_BITS = sum(bits for _, bits in HEADER_FIELDS)

Field = tuple[str, int]
"""Name of a field and the bits of one of its entries."""

CHANNEL_FIELDS: tuple[Field, ...] = (("channel_exponent", CHANNEL_EXPONENT_BITS),)
_OFFSET_FIELDS: tuple[Field, ...] = (
    ("offset_mantissa", scales.OFFSET_MANTISSA_BITS + 1),
    ("offset_distance", 5),
)


def metadata_fields(dtype: DataType, scale: ScaleFormat, has_offset: bool) -> tuple[Field, ...]:
    """Columns that follow a group's codes, in order, each with the bits of one entry."""
    fields = (("scale_mantissa", scale.mantissa_bits), ("scale_distance", scale.distance_bits))
    if has_offset:
        fields += _OFFSET_FIELDS
    elif dtype.asymmetric:
        fields += (("zero", dtype.bits),)
    return tuple(field for field in fields if field[1])


def type_number(dtype: DataType) -> int:
    """What a header calls a data type."""
    return TABLE_NUMBER if dtype.decoder == "table" else datatypes.names().index(dtype.name)


def chunk_granules(dtype: DataType, rows: int, lanes: int) -> int:
    """Length of one chunk of codes in granules of ``rows`` bits."""
    if dtype.name != "ternary":
        return lanes * dtype.bits
    return -(-(8 * -(-rows * lanes // TRITS)) // rows)


def special_bits(dtype: DataType) -> int:
    """The terms of the four special values as the header holds them: bit 0 negative, bits 1 to 4 select."""
    terms = enumerate(dtype.special_terms)
    return sum((term.negative | term.select << 1) << _TERM_BITS * position for position, term in terms)


def _require(name: str, value: object, legal: bool, allowed: str) -> None:
    if not legal:
        raise ValueError(f"{name} {value} must be {allowed}")


@dataclass(frozen=True)
class Packet:
    """What a header says, checked, and the sizes that follow from it.

    Attributes:
        dtype: data type of the codes.
        scale: format of the groups' scales.
        outputs: rows K of the matrix.
        inputs: columns C of the matrix.
        group: elements of a full group, a multiple of ``lanes``; the last group may be shorter.
        rows: outputs R in a row block, and bits in a granule.
        lanes: inputs L in a chunk.
        has_offset: groups carry an offset, and no zero of their own.
        unsigned_codes: beside an offset, every group of an asymmetric type of b bits has the zero point
            2**(b-1), so that its values are 0..2**b - 1; otherwise it has none.
        keep_activations: the same activation vector serves the next packet too.
        output: number format of the results, one of ``OUTPUTS``.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    dtype: DataType
    scale: ScaleFormat
    outputs: int
    inputs: int
    group: int
    rows: int = 8
    lanes: int = 16
    has_offset: bool = False
    keep_activations: bool = False
    output: str = "fp16"
    unsigned_codes: bool = False

    def __post_init__(self) -> None:
        _require("rows", self.rows, self.rows in (4, 8, 16, 32), "4, 8, 16 or 32")
        _require("lanes", self.lanes, self.lanes in (4, 8, 16), "4, 8 or 16")
        _require("output", repr(self.output), self.output in OUTPUTS, f"one of {', '.join(OUTPUTS)}")
        _require("outputs", self.outputs, 1 <= self.outputs <= 65535 * self.rows, "1..65535 * rows")
        _require("inputs", self.inputs, 1 <= self.inputs < 1 << 32, "1..4294967295")
        legal = 1 <= self.group <= 65535 and self.group % self.lanes == 0
        _require("group", self.group, legal, f"a multiple of lanes {self.lanes} in 1..65535")
        _require("groups", self.groups, self.groups <= 65535, "1..65535")
        legal = not self.unsigned_codes or (self.has_offset and self.dtype.asymmetric)
        _require("unsigned_codes", 1, legal, "0 without an offset or an asymmetric type")

    @property
    def fixed_zero_point(self) -> int:
        """Zero point of every group where groups carry no zero of their own."""
        return 1 << self.dtype.bits - 1 if self.unsigned_codes else 0

    @property
    def groups(self) -> int:
        """Groups D of a row; only the last one may be shorter than ``group``."""
        return -(-self.inputs // self.group)

    @property
    def last_inputs(self) -> int:
        """Elements of the last group, 1..group."""
        return self.inputs - (self.groups - 1) * self.group

    @property
    def blocks(self) -> int:
        """Row blocks; the last one is filled up with zero rows."""
        return -(-self.outputs // self.rows)

    def chunks(self, inputs: int) -> int:
        """Chunks of a group of ``inputs`` elements."""
        return -(-inputs // self.lanes)

    @cached_property
    def chunk_bits(self) -> int:
        """Bits of one chunk of codes."""
        return self.rows * chunk_granules(self.dtype, self.rows, self.lanes)

    def group_fields(self, inputs: int) -> tuple[Field, ...]:
        """Fields of a group of ``inputs`` elements, in order, each with its total bits."""
        columns = metadata_fields(self.dtype, self.scale, self.has_offset)
        selector = (("selector", self.dtype.selector_bits * self.rows),) if self.dtype.selector_bits else ()
        codes = ("codes", self.chunks(inputs) * self.chunk_bits)
        return (*selector, codes, *((name, bits * self.rows) for name, bits in columns))

    def group_bits(self, inputs: int) -> int:
        """Bits of a group of ``inputs`` elements."""
        return sum(bits for _, bits in self.group_fields(inputs))

    @cached_property
    def block_bits(self) -> int:
        """Bits of a row block."""
        channel = self.rows * sum(bits for _, bits in CHANNEL_FIELDS)
        return (self.groups - 1) * self.group_bits(self.group) + self.group_bits(self.last_inputs) + channel

    @property
    def bits(self) -> int:
        """Bits of the packet before it is padded to whole words."""
        return HEADER_BITS + self.blocks * self.block_bits

    def header(self) -> bytes:
        """The packet's first 32 bytes."""
        values = {
            "magic": MAGIC,
            "version": VERSION,
            "dtype": type_number(self.dtype),
            "scale": scales.FORMATS.index(self.scale),
            "has_offset": int(self.has_offset),
            "keep_activations": int(self.keep_activations),
            "unsigned_codes": int(self.unsigned_codes),
            "output": OUTPUTS.index(self.output),
            "specials": special_bits(self.dtype),
        } | {name: getattr(self, name) for name in _COUNTS}
        word, offset = 0, 0
        for name, bits in HEADER_FIELDS:
            word |= values.get(name, 0) << offset
            offset += bits
        return word.to_bytes(HEADER_BITS // 8, "little")

    @classmethod
    def parse(cls, buf: bytes, table: DataType | None = None) -> "Packet":
        """Read and check a header.

        Args:
            buf: the packet, or its beginning.
            table: what a programmable table holds, if there is one.

        Raises:
            ValueError: not a legal header; the message names the field, its value and what is allowed.
        """
        _require("packet length", f"{len(buf)} bytes", 8 * len(buf) >= HEADER_BITS, "at least 32 bytes")
        word = int.from_bytes(buf[: HEADER_BITS // 8], "little")
        header = {}
        for name, bits in HEADER_FIELDS:
            header[name] = word & (1 << bits) - 1
            word >>= bits
        types = {number: datatypes.get(name) for number, name in enumerate(datatypes.names())}
        types |= {TABLE_NUMBER: table} if table else {}
        _check_numbers(header, types)
        packet = cls(
            dtype=types[header["dtype"]],
            scale=scales.FORMATS[header["scale"]],
            outputs=header["outputs"],
            inputs=header["inputs"],
            group=header["group"],
            rows=header["rows"],
            lanes=header["lanes"],
            has_offset=bool(header["has_offset"]),
            keep_activations=bool(header["keep_activations"]),
            output=OUTPUTS[header["output"]],
            unsigned_codes=bool(header["unsigned_codes"]),
        )
        for name in _DERIVED:
            expected = getattr(packet, name)
            _require(name, header[name], header[name] == expected, f"{expected} for the header's counts")
        expected = special_bits(packet.dtype)
        _require("specials", header["specials"], header["specials"] == expected, f"{expected} for its type")
        return packet


_DERIVED = ("groups", "last_inputs", "blocks")
_COUNTS = ("rows", "lanes", "outputs", "inputs", "group", *_DERIVED)


def _check_numbers(header: dict[str, int], types: Mapping[int, DataType]) -> None:
    """Check every field of a header that stands for a choice rather than a count."""

    def number(name: str, choices: Iterable[object]) -> None:
        count = len(tuple(choices))
        _require(name, header[name], header[name] < count, f"0..{count - 1}")

    _require("magic", f"{header['magic']:#04x}", header["magic"] == MAGIC, f"{MAGIC:#04x}")
    _require("version", header["version"], header["version"] == VERSION, str(VERSION))
    if header["dtype"] not in types:
        number("dtype", datatypes.names())
    number("scale", scales.FORMATS)
    number("output", OUTPUTS)
    for name in ("reserved_flags", "reserved_byte", "reserved_end"):
        _require(name, header[name], header[name] == 0, "0")
