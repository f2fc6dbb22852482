"""The one table of stream payloads: what travels between the blocks of the accelerator."""

from amaranth.hdl import ShapeLike, signed
from amaranth.lib import data, enum
from amaranth.utils import bits_for, ceil_log2

from golden.numbers.datatypes import FIXED_MAGNITUDES, LANE_BITS, MAXIMUM_TERMS, SPECIALS, TABLE_ROWS
from hw.config import Config

__all__ = [
    "ActivationFormat",
    "OutputFormat",
    "Route",
    "activation_beat",
    "activations",
    "aligned_beat",
    "channels",
    "chunk",
    "column_dots",
    "dots",
    "group_scales",
    "matrix_format",
    "packet_header",
    "passes",
    "result",
    "summary",
    "term",
    "term_table",
    "value_dots",
    "word",
]

MANTISSA_BITS = 11
DISTANCE_BITS = 8
EXPONENT_BITS = 8
REACH_BITS = 6
HALVING_BITS = 2


class ActivationFormat(enum.Enum, shape=1):
    """Number format of the activation stream."""

    FP16 = 0
    BF16 = 1


class OutputFormat(enum.Enum, shape=2):
    """Number format of the results."""

    FP16 = 0
    BF16 = 1
    FP32 = 2


class Route(enum.Enum, shape=1):
    """Where the array's dot products go: through the rescaler to the results, or out as they are."""

    RESCALED = 0
    DOTS = 1


term = data.StructLayout({"negative": 1, "select": bits_for(len(FIXED_MAGNITUDES) + 1)})
"""One bit-serial term of ``golden.numbers.datatypes``: a sign and which of ten multiples of the
activation."""


def word(config: Config) -> data.StructLayout:
    """A word of packed weights; ``last`` closes the packet."""
    return data.StructLayout({"data": config.memory_bits, "last": 1})


def activation_beat(config: Config) -> data.StructLayout:
    """FP16 or BF16 elements of every token column; ``last`` closes the vector, missing elements are +0.

    With ``config.attention`` elements have 19 bits: TF32, whose format is that of BF16, or FP16 and BF16
    above three zeros.

    The vector is aligned in groups of ``config.group`` elements, halved ``halvings`` times (at most to 16).
    """
    lanes = data.ArrayLayout(config.element_bits, config.activation_lanes)
    elements = data.ArrayLayout(lanes, config.columns)
    return data.StructLayout(
        {"elements": elements, "last": 1, "format": ActivationFormat, "halvings": HALVING_BITS}
    )


def aligned_beat(config: Config) -> data.StructLayout:
    """Aligned integers of every token column; ``group_last`` closes a group, ``last`` the vector.

    ``exponent`` is the group's field E in each of its beats; ``sum`` adds the group's elements up to this
    beat, so it is S with ``group_last``; ``special`` is set from the vector's first NaN or infinity on.
    """
    lanes = data.ArrayLayout(signed(config.activation_bits), config.activation_lanes)
    column = data.StructLayout({"exponent": EXPONENT_BITS, "sum": signed(config.sum_bits), "special": 1})
    return data.StructLayout(
        {
            "elements": data.ArrayLayout(lanes, config.columns),
            "group_last": 1,
            "last": 1,
            "columns": data.ArrayLayout(column, config.columns),
            "format": ActivationFormat,
        }
    )


def packet_header(config: Config) -> data.StructLayout:
    """What a packet asks of the activations; accepted or rejected before its first chunk.

    ``inputs`` elements in ``groups`` groups, all of ``group_chunks`` chunks but the last of ``last_chunks``;
    ``blocks`` row blocks are multiplied by them.
    """
    return data.StructLayout(
        {
            "inputs": bits_for(config.maximum_inputs),
            "groups": bits_for(config.maximum_inputs // config.lanes),
            "group_chunks": bits_for(config.chunks),
            "last_chunks": bits_for(config.chunks),
            "blocks": 16,
            "keep_activations": 1,
        }
    )


term_table = data.ArrayLayout(data.ArrayLayout(term, 2), TABLE_ROWS)
"""Terms of a programmable table's values, the most significant digit of each first."""


def matrix_format(config: Config) -> data.StructLayout:
    """How the codes of a matrix become terms; constant within a packet.

    ``programming`` chooses one of each pair of ``golden.numbers.datatypes.PROGRAMMABLE_MAGNITUDES``;
    ``specials`` are the terms that the four special values stand for.
    """
    return data.StructLayout(
        {
            "decoder": bits_for(len(config.decoders) - 1),
            "last_term": ceil_log2(MAXIMUM_TERMS),
            "programming": 2,
            "specials": data.ArrayLayout(term, SPECIALS),
        }
    )


def chunk(config: Config) -> data.StructLayout:
    """``rows`` x ``lanes`` codes, left-aligned in a byte each, with the selectors of their group.

    ``last`` marks a group's last chunk; ``final`` is set in every chunk of a row block's last group and
    ``finished`` in every chunk of the packet's last row block.

    With ``config.attention`` two more fields are constant within a group: ``route``, and ``steady``, which
    says of dot products that their taker takes them without delay (``hw.pe.array``). With
    ``config.lane_selectors`` those of a group ``by_lane`` are ``lane_selectors``, since each lane is another
    group's, and not ``selectors``.
    """
    lanes = data.ArrayLayout(LANE_BITS, config.lanes)
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(lanes, config.rows),
            "selectors": data.ArrayLayout(ceil_log2(SPECIALS), config.rows),
            "format": matrix_format(config),
            "last": 1,
            "final": 1,
            "finished": 1,
            **({"route": Route, "steady": 1} if config.attention else {}),
            **(_lane_selectors(config) if config.lane_selectors else {}),
        }
    )


def _lane_selectors(config: Config) -> dict[str, ShapeLike]:
    return {"lane_selectors": data.ArrayLayout(ceil_log2(SPECIALS), config.lanes), "by_lane": 1}


def group_scales(config: Config) -> data.StructLayout:
    """Scale and offset of every row for one group, as mantissas and distances below the row's reference.

    A group adds ``(scale * (P + zero_point * S)) >> scale_distance`` and, when ``has_offset``,
    ``(offset * S) >> offset_distance`` to its output. ``reach`` bounds those terms: |term| < 2**reach.
    Scales of pages of a table may be negative.
    """
    row = data.StructLayout(
        {
            "scale": signed(MANTISSA_BITS + 1) if config.page_tables else MANTISSA_BITS,
            "scale_distance": DISTANCE_BITS,
            "zero_point": signed(config.zero_point_bits),
            "offset": signed(MANTISSA_BITS + 1),
            "offset_distance": DISTANCE_BITS,
        }
    )
    return data.StructLayout(
        {"rows": data.ArrayLayout(row, config.rows), "reach": REACH_BITS, "has_offset": 1}
    )


def channels(config: Config) -> data.StructLayout:
    """Output scale of every row of a block: ``2**exponent``.

    ``rows`` beyond ``count`` are padding and give no result; ``last`` marks the packet's last block;
    ``error`` says that the packet ended early and its missing bits were read as zero.
    """
    row = data.StructLayout({"exponent": signed(EXPONENT_BITS)})
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(row, config.rows),
            "count": bits_for(config.rows),
            "output": OutputFormat,
            "reach": REACH_BITS,
            "last": 1,
            "error": 1,
        }
    )


def activations(config: Config) -> data.ArrayLayout:
    """One chunk of aligned activations, ``[column][lane]``."""
    lanes = data.ArrayLayout(signed(config.activation_bits), config.lanes)
    return data.ArrayLayout(lanes, config.columns)


passes = data.StructLayout({"count": 16, "keep": 1})
"""How often the present activation vector is streamed, once a row block, and whether it stays afterwards."""


def summary(config: Config) -> data.StructLayout:
    """What the rescale unit needs of a group, a token column each.

    ``distance`` is how far the group's exponent lies below ``reference``, the vector's largest; ``special``
    says that the vector held a NaN or an infinity.
    """
    column = data.StructLayout(
        {
            "distance": EXPONENT_BITS,
            "sum": signed(config.sum_bits),
            "reference": EXPONENT_BITS,
            "special": 1,
        }
    )
    return data.StructLayout(
        {"columns": data.ArrayLayout(column, config.columns), "format": ActivationFormat}
    )


def dots(config: Config) -> data.StructLayout:
    """Group dot products of all rows and columns, each plus ``bias``, modulo ``2**product_bits``.

    ``final`` marks the last group of a row block; ``route`` is there with ``config.attention``.
    """
    rows = data.ArrayLayout(config.product_bits, config.rows)
    return data.StructLayout(
        {
            "dots": data.ArrayLayout(rows, config.columns),
            "bias": config.product_bits,
            "final": 1,
            **({"route": Route} if config.attention else {}),
        }
    )


def column_dots(config: Config) -> data.StructLayout:
    """Dot products of a row block, each plus ``bias``, and exponent fields of the columns' activations."""
    rows = data.ArrayLayout(config.product_bits, config.rows)
    return data.StructLayout(
        {
            "dots": data.ArrayLayout(rows, config.columns),
            "bias": config.product_bits,
            "exponents": data.ArrayLayout(EXPONENT_BITS, config.columns),
        }
    )


def value_dots(config: Config) -> data.StructLayout:
    """Those of one column."""
    return data.StructLayout(
        {
            "dots": data.ArrayLayout(config.product_bits, config.rows),
            "bias": config.product_bits,
            "exponent": EXPONENT_BITS,
        }
    )


def result(config: Config) -> data.StructLayout:
    """Consecutive output rows of every token column; a 16-bit format fills the low half of each element.

    ``count`` rows are meant; ``last`` closes the packet's results, ``error`` marks those of a damaged packet.
    """
    columns = data.ArrayLayout(32, config.columns)
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(columns, config.rescale_units),
            "count": bits_for(config.rescale_units),
            "last": 1,
            "error": 1,
        }
    )
