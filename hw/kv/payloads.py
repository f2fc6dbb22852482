"""Stream payloads of the KV-cache engines."""

from amaranth.lib import data, enum
from amaranth.utils import bits_for

from golden.kv.codings import CODINGS
from hw.config import Config

__all__ = [
    "CODE_BITS",
    "HALF_BITS",
    "SELECTOR_BITS",
    "SHORTEST_GROUP",
    "TOP_BITS",
    "Axis",
    "Coding",
    "Side",
    "WindowPage",
    "code_beat",
    "coded_word",
    "element_beat",
    "page_beat",
    "page_format",
    "page_record",
    "token_record",
    "value_beat",
    "window_write",
    "word",
    "written_word",
]

CODE_BITS = max(coding.bits for coding in CODINGS)
SELECTOR_BITS = 2
"""Number of a group's special value (BitMoD's data types)."""

HALF_BITS = 16
"""A float16."""

SHORTEST_GROUP = 16

TOP_BITS = 5
"""The largest exponent field of steps and offsets, 1 to 31."""


class Coding(enum.Enum, shape=3):
    """How the codes of a page are laid out: places in ``golden.kv.codings.CODINGS``; 6 and 7 are reserved."""

    BITS1 = 0
    TRITS = 1
    BITS2 = 2
    BITS3 = 3
    BITS4 = 4
    BITS8 = 5


class Side(enum.Enum, shape=1):
    """What a page holds."""

    KEY = 0
    VALUE = 1


class Axis(enum.Enum, shape=1):
    """What a group consists of: channels of one token, or tokens of one channel."""

    TOKEN = 0
    CHANNEL = 1


def page_format(config: Config) -> data.StructLayout:
    """How a page is quantised; it comes beside the page, from the table that owns the pages.

    ``magnitude`` makes codes of 1 bit signs with a mean magnitude, and others symmetric about zero with the
    largest one, instead of affine; trits always have a mean magnitude. A group has ``16 << group`` elements,
    a head ``16 * channels``. ``gamma``, in 256ths, is the threshold of trits in mean magnitudes. ``bitmod``,
    with ``kv.bitmod`` only, makes codes of 3 or 4 bits with a magnitude ones of BitMoD's data types, and
    ``table``, of attention with ``kv.table`` only, makes codes of 4 bits with a magnitude ones of the table
    of their side.
    """
    return data.StructLayout(
        {
            "coding": Coding,
            "magnitude": 1,
            "side": Side,
            "axis": Axis,
            "group": 2,
            "channels": bits_for(config.kv.channels // SHORTEST_GROUP),
            "gamma": 8,
            **({"bitmod": 1} if config.kv.bitmod else {}),
            **({"table": 1} if config.page_tables else {}),
        }
    )


def page_record(config: Config) -> data.StructLayout:
    """What comes ahead of a page that is to be quantised.

    ``top`` is the largest exponent field of any step and offset of its head and side so far, 1 to 31.
    """
    return data.StructLayout({"form": page_format(config), "top": TOP_BITS})


def token_record(config: Config) -> data.StructLayout:
    """What comes ahead of a token of one head and side: its place in its page, and ``top`` as of a page."""
    form = page_format(config)
    return data.StructLayout(
        {
            "side": Side,
            "channels": form["channels"].shape,
            "place": range(config.kv.page_tokens),
            "top": TOP_BITS,
        }
    )


def element_beat(config: Config) -> data.StructLayout:
    """Consecutive float16 elements of one token; ``last`` closes the page."""
    return data.StructLayout({"elements": data.ArrayLayout(HALF_BITS, config.kv.lanes), "last": 1})


def word(width: int) -> data.StructLayout:
    """A word of ``width`` bits of memory; ``last`` closes the page."""
    return data.StructLayout({"data": width, "last": 1})


def written_word(width: int) -> data.StructLayout:
    """A word of a page that is written; with the last one ``top`` of its head and side, else 0."""
    return data.StructLayout({"data": width, "last": 1, "top": TOP_BITS})


class WindowPage(enum.Enum, shape=1):
    """Which of the two pages of a window (``golden.kv.window``)."""

    CODED = 0
    COPY = 1


def window_write(config: Config) -> data.StructLayout:
    """Bytes of a word of a window: the ``word``-th one of ``page``, those of ``data`` that are enabled.

    ``last`` closes the token; with it comes ``top`` of its head and side.
    """
    width = config.memory_bits
    words = config.kv.page_tokens * config.kv.channels * HALF_BITS // width
    return data.StructLayout(
        {
            "page": WindowPage,
            "word": range(words),
            "data": width,
            "enables": width // 8,
            "last": 1,
            "top": TOP_BITS,
        }
    )


def coded_word(width: int) -> data.StructLayout:
    """A word with the coding of its page."""
    return data.StructLayout({"data": width, "coding": Coding, "last": 1})


def code_beat(codes: int) -> data.StructLayout:
    """So many codes of one page, each right-aligned in a byte with zeros above; ``last`` closes the page.

    ``coding`` is constant within a page.
    """
    return data.StructLayout({"codes": data.ArrayLayout(CODE_BITS, codes), "coding": Coding, "last": 1})


def page_beat(config: Config) -> data.StructLayout:
    """``memory_bits`` codes of a page that was read; ``error`` in its last beat says that it was damaged."""
    return data.StructLayout({"beat": code_beat(config.memory_bits), "error": 1})


def value_beat(config: Config) -> data.StructLayout:
    """Consecutive float16 elements of one token, and where they lie: the token, and which beat of it.

    ``last`` closes the page, and ``error`` with it says that the page was damaged.
    """
    return data.StructLayout(
        {
            "elements": data.ArrayLayout(HALF_BITS, config.kv.lanes),
            "token": range(config.kv.page_tokens),
            "beat": range(config.kv.channels // config.kv.lanes),
            "error": 1,
            "last": 1,
        }
    )
