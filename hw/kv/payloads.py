"""Stream payloads of the KV-cache engines."""

from amaranth.lib import data, enum

from golden.kv.codings import CODINGS

__all__ = ["CODE_BITS", "Coding", "code_beat", "word"]

CODE_BITS = max(coding.bits for coding in CODINGS)


class Coding(enum.Enum, shape=3):
    """How the codes of a page are laid out: places in ``golden.kv.codings.CODINGS``; 6 and 7 are reserved."""

    BITS1 = 0
    TRITS = 1
    BITS2 = 2
    BITS3 = 3
    BITS4 = 4
    BITS8 = 5


def word(width: int) -> data.StructLayout:
    """A word of ``width`` bits of memory; ``last`` closes the page."""
    return data.StructLayout({"data": width, "last": 1})


def code_beat(codes: int) -> data.StructLayout:
    """So many codes of one page, each right-aligned in a byte with zeros above; ``last`` closes the page.

    ``coding`` is constant within a page.
    """
    return data.StructLayout({"codes": data.ArrayLayout(CODE_BITS, codes), "coding": Coding, "last": 1})
