"""What a core is built for, as the commands of the KV cache see it, and formats of its pages."""

from dataclasses import dataclass
from functools import lru_cache

from golden.core.commands import UNIT
from golden.core.state import format_bits
from golden.kv import codings, ternary
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.numbers.numerics import Numerics

__all__ = ["KvShape", "bits_of", "format_of"]

_layout = lru_cache(maxsize=256)(PageLayout)
"""Its order of codes is worked out once."""


@dataclass(frozen=True)
class KvShape:
    """What a core is built for.

    Attributes:
        rows, lanes: of its array.
        page_tokens: P.
        channels: most elements of a head.
        queries: most query heads of a KV head.
        memory_bits: of a word of memory.
        numerics: widths.
    """

    rows: int
    lanes: int
    page_tokens: int
    channels: int
    queries: int
    memory_bits: int
    numerics: Numerics

    @property
    def word_bytes(self) -> int:
        """Bytes of a word of memory."""
        return self.memory_bits // 8

    def legal(self, form: Format | None, side: int, channels: int) -> bool:
        """Whether there can be a page: whole groups, whole chunks of the array, whole words of scales."""
        if form is None:
            return False
        group = form.group or 0
        length = channels if form.axis == "token" else self.page_tokens
        groups = self.page_tokens * channels // group
        return (
            length % group == 0
            and channels % (self.rows if side else self.lanes) == 0
            and groups * 16 % self.memory_bits == 0
        )

    def readable(self, form: Format | None, side: int, channels: int) -> bool:
        """Whether it is legal and the array can reduce its groups, or they are folded."""
        folded = form is not None and (form.axis == "token") == bool(side)
        short = form is not None and (form.group or 0) <= self.numerics.group
        return self.legal(form, side, channels) and (folded or short)

    def layout(self, form: Format, side: int, channels: int) -> PageLayout:
        """Of a page of a legal format."""
        return _layout(form, SIDES[side], self.page_tokens, channels, self.rows, self.lanes)

    def padded(self, layout: PageLayout) -> int:
        """Bytes of a page in whole words."""
        return -(-layout.bytes // self.word_bytes) * self.word_bytes


def bits_of(form: Format, channels: int, tokens: int) -> int:
    """What stands in a record for a format of pages of so many channels and tokens.

    Raises:
        ValueError: the circuits do not read it.
    """
    size = form.group or (channels if form.axis == "token" else tokens)
    bits = format_bits(
        codings.CODINGS.index(form.coding),
        form.kind == "sign" or form.signed,
        form.axis == "channel",
        (size // UNIT).bit_length() - 1,
        ternary.gamma_units(form.gamma) if form.kind == "ternary" else 0,
    )
    read = format_of(bits)
    if read is None or (read.rule, read.bits, read.axis, read.group) != (
        form.rule,
        form.bits,
        form.axis,
        size,
    ):
        raise ValueError(f"format {form} must be one that a core's pages have, such as native")
    return bits


def format_of(bits: int) -> Format | None:
    """The format that ``golden.core.state.format_bits`` stands for; None for one that there is not."""
    if bits & 7 >= len(codings.CODINGS):
        return None
    coding = codings.CODINGS[bits & 7]
    magnitude, axis, group = bits >> 3 & 1, ("token", "channel")[bits >> 4 & 1], 16 << (bits >> 5 & 3)
    if coding.trits:
        return Format("ternary_scaled", coding.bits, axis, group, (bits >> 8) / 256)
    of_magnitude = "sign" if coding.bits == 1 else "native_symmetric"
    return Format(of_magnitude if magnitude else "native", coding.bits, axis, group)
