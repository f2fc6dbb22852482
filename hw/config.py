"""One typed, validated configuration for every block, and the named presets.

Everything that a circuit needs is either a field here or derived from the fields; no width is typed twice.
"""

import tomllib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from amaranth.utils import bits_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from golden.attention.widths import MOST_CHANNELS
from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.numbers.scales import FORMATS, OFFSET_MANTISSA_BITS, ScaleFormat
from golden.weights.presets import PRESETS

__all__ = [
    "TABLE_TYPE",
    "Config",
    "ConfigurationError",
    "CoreConfig",
    "KvConfig",
    "load",
    "preset",
    "presets",
    "problem",
]


TABLE_TYPE = datatypes.table("table", (127,) * datatypes.TABLE_ROWS, "any values within -127..127")
"""Of whatever is loaded."""


class ConfigurationError(ValueError):
    """A configuration that no circuit can be made of; the message names the field in one line."""


class KvConfig(BaseModel):
    """Parameters of the KV-cache engines.

    Attributes:
        lanes: float16 elements that the quantiser and the dequantiser take in a cycle.
        channels: most elements D of a head, a multiple of 16.
        page_tokens: tokens P of a page.
        queries: most query heads N of a KV head; they read a page together, and with several columns of the
            array there are at least two for each.
        engines: attention engines, each with a tile of its own, that share the pages of a head.
        bitmod: pages may be of BitMoD's data types; the core makes no such pages and refuses it.
        table: pages that attention reads may have codes of 16 values that are loaded at run time, of keys and
            of values (``hw.attention.page_tables``); such pages come from a host, and the core refuses it.
        split_keys: keys may come to attention in several pages, each of some of the channels, whose scores
            are added; the core makes no such pages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: Literal[1, 2, 4, 8] = 1
    channels: Annotated[int, Field(ge=16, le=256)] = 128
    page_tokens: Literal[32, 64] = 32
    queries: Literal[2, 4, 8, 16] = 8
    engines: Literal[1, 2, 4, 8] = 1
    bitmod: bool = False
    table: bool = False
    split_keys: bool = False

    @field_validator("channels")
    @classmethod
    def _whole_groups(cls, value: int) -> int:
        if value % 16:
            raise ValueError(f"channels {value} must be a multiple of 16, the shortest group")
        return value


class CoreConfig(BaseModel):
    """Parameters of the decode core.

    Attributes:
        lanes: float32 elements that the vector unit works on at a time, the width of a scratch word.
        scratch: elements of scratch memory.
        waiting_bytes: of weights that are read ahead, and twice those of pages; what memory gives in the
            time of its latency, or more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: Literal[1, 2, 4] = 4
    scratch: Annotated[int, Field(ge=256, le=65536)] = 5120
    waiting_bytes: Literal[512, 1024, 2048, 4096, 8192, 16384] = 16384

    @field_validator("scratch")
    @classmethod
    def _whole_units(cls, value: int) -> int:
        if value % 16:
            raise ValueError(f"scratch {value} must be a multiple of 16")
        return value


class Config(BaseModel):
    """Parameters of one accelerator.

    Attributes:
        rows: output rows R of the array; each has its own codes, scales and results.
        columns: token columns N; they share the codes and have their own activations.
        lanes: multiplications L that one processing element does in a cycle.
        group: longest group G along the reduction axis, in elements; a vector may also be aligned in groups
            of a half, a quarter and so on down to 16.
        activation_bits: width A of an aligned activation, sign included.
        activation_lanes: elements in one beat of the activation stream.
        attention: the tile serves attention: the aligner takes TF32 too, as BF16 with three more bits of
            fraction, dot products may leave unscaled, and sums of short vectors are finer (``finer_bits``);
            the accelerator has none of it.
        maximum_inputs: longest activation vector, in elements.
        accumulator_bits: width of an output's fixed-point accumulator.
        rescale_units: rescale units a token column; unit ``u`` serves rows ``u``, ``u + rescale_units``, ...
        offset_passes: times that a row with an offset passes through its rescale unit; 1 takes a second
            multiplier and shifter in each of them.
        waiting_groups: groups of dot products, with their scales, that can wait ahead of the rescale units,
            beside the one in the processing elements; 1 lets groups follow one another every four cycles.
        result_beats: results that are buffered; ``slots`` of them hide every row block's results.
        memory_bits: width W of the memory's words, weights and pages alike; KV codes come W a beat.
        types: data types that the term encoder and the unpacker understand.
        table: beside them, a type of 16 values that are loaded at run time (``hw.pe.term_table``); only the
            accelerator has it.
        kv: parameters of the KV-cache engines.
        core: parameters of the decode core.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Literal[4, 8, 16, 32] = 8
    columns: Annotated[int, Field(ge=1, le=64)] = 1
    lanes: Literal[4, 8, 16] = 16
    group: Literal[16, 32, 64, 128] = 128
    activation_bits: Annotated[int, Field(ge=8, le=16)] = 12
    activation_lanes: Literal[1, 2, 4, 8, 16] = 4
    attention: bool = False
    maximum_inputs: Annotated[int, Field(ge=16, le=65536)] = 16384
    accumulator_bits: Annotated[int, Field(ge=24, le=48)] = 36
    rescale_units: Literal[1, 2, 4, 8] = 1
    offset_passes: Literal[1, 2] = 2
    waiting_groups: Literal[0, 1] = 0
    result_beats: Annotated[int, Field(ge=0, le=256)] = 8
    memory_bits: Literal[64, 128, 256, 512, 1024] = 256
    types: tuple[str, ...] = datatypes.names()
    table: bool = False
    kv: KvConfig = KvConfig()
    core: CoreConfig = CoreConfig()

    @field_validator("types")
    @classmethod
    def _known_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            datatypes.get(name)
        if not value:
            raise ValueError("at least one data type is needed")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.lanes % self.activation_lanes:
            raise ValueError(f"activation_lanes {self.activation_lanes} must divide lanes {self.lanes}")
        if self.rows % self.rescale_units:
            raise ValueError(f"rescale_units {self.rescale_units} must divide rows {self.rows}")
        least, most = 16 * self.rows, 16 * self.kv.page_tokens
        if self.memory_bits < least:
            raise ValueError(f"memory_bits {self.memory_bits} must be at least 16 * rows = {least}")
        if self.memory_bits > most:
            raise ValueError(f"memory_bits {self.memory_bits} must be at most 16 * kv.page_tokens = {most}")
        if self.maximum_inputs % self.group:
            raise ValueError(f"maximum_inputs {self.maximum_inputs} must be a multiple of group {self.group}")
        if self.rows % self.kv.lanes or self.lanes % self.kv.lanes:
            raise ValueError(f"kv.lanes {self.kv.lanes} must divide rows {self.rows} and lanes {self.lanes}")
        return self

    @cached_property
    def datatypes(self) -> tuple[datatypes.DataType, ...]:
        """The supported data types."""
        return (*(datatypes.get(name) for name in self.types), *((TABLE_TYPE,) if self.term_table else ()))

    @cached_property
    def decoders(self) -> tuple[str, ...]:
        """Decoders that the term encoder needs, in the order of the table."""
        return tuple(dict.fromkeys(entry.decoder for entry in self.datatypes))

    @cached_property
    def shifts(self) -> tuple[int, ...]:
        """Every common shift that a supported type uses, ascending."""
        return tuple(sorted({shift for entry in self.datatypes for shift in entry.shifts}))

    def changed(self, **fields: Any) -> "Config":
        """The same with other values of some fields.

        Raises:
            ConfigurationError: unknown field or value out of range; the message names the field.
        """
        return _checked(self.model_dump() | fields)

    @property
    def chunks(self) -> int:
        """Beats of ``lanes`` elements in a full group."""
        return self.group // self.lanes

    @property
    def element_bits(self) -> int:
        """Width of an element of the activation stream."""
        return 19 if self.attention else 16

    @property
    def lane_selectors(self) -> bool:
        """Whether chunks may have a selector for each lane: attention on pages of BitMoD's types."""
        return self.attention and self.kv.bitmod

    @property
    def page_tables(self) -> bool:
        """Whether pages may be of tables: those that attention reads."""
        return self.attention and self.kv.table

    @property
    def term_table(self) -> bool:
        """Whether the array has a type of 16 values that are loaded at run time."""
        return self.table or self.page_tables

    @property
    def group_lengths(self) -> tuple[int, ...]:
        """Lengths of group, the longest one first; place k is reached by halving k times."""
        return self.numerics.group_lengths

    @property
    def maximum_groups(self) -> int:
        """Groups in the longest vector when they are as short as can be."""
        return self.maximum_inputs // self.group_lengths[-1]

    @property
    def largest_activation(self) -> int:
        """Largest magnitude of an aligned activation."""
        return (1 << self.activation_bits - 1) - 1

    @property
    def product_bits(self) -> int:
        """Width of a group's dot product P, sign included; no group can exceed it."""
        largest = max(entry.largest for entry in self.datatypes)
        return (self.group * self.largest_activation * largest).bit_length() + 1

    @property
    def sum_bits(self) -> int:
        """Width of a group's activation sum S, sign included."""
        return (self.group * self.largest_activation).bit_length() + 1

    @property
    def operand_bits(self) -> int:
        """Width of P + zero point * S, sign included."""
        largest = max(entry.largest + (1 << entry.bits - 1) * entry.asymmetric for entry in self.datatypes)
        return (self.group * self.largest_activation * largest).bit_length() + 1

    @property
    def zero_point_bits(self) -> int:
        """Width of a group's zero point, sign included: -2**(b - 1) + 1 .. 2**(b - 1) of a type of b bits.

        Two bits are the least, since an offset takes the place of a scale with a zero point of 1.
        """
        return max((entry.bits + 1 for entry in self.datatypes if entry.asymmetric), default=2)

    @property
    def scaled_bits(self) -> int:
        """Width of a scale or offset times its operand, sign included."""
        return self.operand_bits + OFFSET_MANTISSA_BITS

    @cached_property
    def numerics(self) -> Numerics:
        """The part of the configuration that decides about numbers, for the golden model."""
        return Numerics(
            activation_bits=self.activation_bits,
            group=self.group,
            accumulator_bits=self.accumulator_bits,
            maximum_inputs=self.maximum_inputs,
        )

    @property
    def finer_bits(self) -> int:
        """Bits by which sums of attention's vectors are finer than those of the longest vectors."""
        short = replace(self.numerics, maximum_inputs=MOST_CHANNELS)
        return short.alignment - self.numerics.alignment

    def attention_reach(self, dtype: DataType, scaled: bool) -> int:
        """What ``scales`` and ``channels`` give as reach in products of attention.

        It is the bound of a contribution less ``finer_bits``: as if sums were aligned for short vectors.

        Args:
            dtype: data type of the codes.
            scaled: groups have float16 steps and offsets; otherwise scales of 1 and no offsets.
        """
        return self._reach(dtype, scales.get("fp16" if scaled else "e8m0"), scaled) - self.finer_bits

    def _reach(self, dtype: DataType, scale: ScaleFormat, has_offset: bool) -> int:
        return reach(self.group, self.activation_bits, dtype, scale, has_offset)

    @property
    def headroom(self) -> int:
        """Left shift ahead of the alignment shifter, so that every alignment is a right shift."""
        least = min(self._reach(entry, scale, False) for entry in self.datatypes for scale in FORMATS)
        if self.attention:
            centred = (replace(entry, asymmetric=False) for entry in self.datatypes)
            least = min(least, *(self.attention_reach(entry, False) for entry in centred))
        return max(self.numerics.alignment - least, 0)

    @property
    def amount_bits(self) -> int:
        """Width of an alignment shift that saturates when nothing but the sign is left."""
        return bits_for(self.scaled_bits + self.headroom)

    @property
    def slots(self) -> int:
        """Rows that one rescale unit serves in turn."""
        return self.rows // self.rescale_units

    def turns(self, offsets: bool) -> int:
        """Cycles that the rescale units take for a group."""
        return self.slots * (self.offset_passes if offsets else 1)


def _shape(name: str) -> dict[str, Any]:
    """What a preset's packets are laid out for; words of packets are those of the memory."""
    rows, lanes, group, memory_bits = PRESETS[name]
    return {"rows": rows, "lanes": lanes, "group": group, "memory_bits": memory_bits}


_PRESETS = {
    "tiny": Config(
        **_shape("tiny"),
        activation_lanes=4,
        maximum_inputs=512,
        kv=KvConfig(channels=32, queries=4),
        core=CoreConfig(lanes=1, scratch=1024, waiting_bytes=4096),
    ),
    "edge": Config(**_shape("edge"), rescale_units=2, offset_passes=1, waiting_groups=1),
    "paper": Config(**_shape("paper"), columns=32, maximum_inputs=16384),
}

SUMMARIES = {
    "tiny": "4 rows x 1 column of 4 lanes, groups of 32: for tests and small FPGAs",
    "edge": "8 rows x 1 column of 16 lanes: batch-1 decode on a 32 GB/s memory (the default)",
    "paper": "32 rows x 32 columns of 4 lanes: the array size of BitMoD (HPCA 2025)",
}


def presets() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_PRESETS)


def preset(name: str) -> Config:
    """Look a preset up.

    Raises:
        ConfigurationError: no such preset.
    """
    if name not in _PRESETS:
        raise ConfigurationError(f"preset {name!r} must be one of {', '.join(_PRESETS)}")
    return _PRESETS[name]


def load(path: Path) -> Config:
    """Read a TOML file: fields of ``Config``, on top of the preset named in its ``preset`` entry, if any.

    Raises:
        ConfigurationError: unreadable file, unknown field or value out of range; the message names the field.
    """
    try:
        fields = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"config {str(path)!r} is not readable TOML: {error}") from None
    base = preset(str(fields.pop("preset", "edge"))).model_dump()
    for part in ("kv", "core"):
        if isinstance(fields.get(part), dict):
            fields[part] = base[part] | fields[part]
    return _checked(base | fields)


def _checked(fields: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError(problem(error, model=Config)) from None


def _fields_at(model: type[BaseModel] | None, path: tuple[int | str, ...]) -> tuple[str, ...]:
    """Names of the fields of a model, or of the one inside it that a path leads to."""
    for part in path:
        field = model.model_fields.get(str(part)) if model else None
        inner = field.annotation if field else None
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return tuple(model.model_fields) if model else ()


def problem(error: ValidationError, whole: str = "", model: type[BaseModel] | None = None) -> str:
    """The first problem in one line, with the field and its value.

    Args:
        error: what pydantic found.
        whole: what to call all of it, where no field is to blame; without a name its value is left out.
        model: what was checked; where a field is unknown, its fields are named.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "no such field"
        if names := _fields_at(model, first["loc"][:-1]):
            message += f", fields are {', '.join(names)}"
    return f"{where} = {first['input']!r}: {message}" if where else message
