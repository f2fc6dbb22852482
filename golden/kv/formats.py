"""KV formats: which rule quantises keys or values, at how many bits and in which groups.

Whatever the rule, an element of a group is ``integer * step + offset``: an unsigned code (affine rules,
signs), a trit, a value of BitMoD's or of a table, times a step, plus an offset. Attention needs nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import affine, bitmod, codings, magnitudes, sign, table, ternary
from golden.kv.affine import Quantized
from golden.kv.rules import RULES
from golden.numbers import datatypes, floats

__all__ = ["DECODES", "Format"]

DECODES: dict[str, tuple[str, str]] = {
    "sign": ("sign", "scaled"),
    "sign_published": ("sign", "published"),
    "ternary": ("ternary", "kept"),
    "ternary_scaled": ("ternary", "scaled"),
    "ternary_published": ("ternary", "published"),
}
"""Rules of signs and trits: their kind and their decoding. Of each the published one is a flaw that VidKV has
in print and in code; the plain name is the best of the others."""


@dataclass(frozen=True)
class Format:
    """One way to quantise keys or values.

    Attributes:
        rule: a name in ``golden.kv.rules.RULES``, ``DECODES`` or ``golden.kv.bitmod.TYPES``, or "table".
        bits: width of a code: 1, 2, 3, 4 or 8; 1 for signs, 2 for trits, 3 and 4 for bitmod3 and bitmod4, 4
            for a table.
        axis: "token", groups of channels of one token, or "channel", groups of tokens of one channel.
        group: elements of a group, 16..128; None for all channels of a token, or all tokens of a page.
        gamma: threshold of trits in mean magnitudes, 0..255/256.
        table: of the rule "table", the integers within -127..127 that its 16 codes stand for
            (``golden.kv.table`` has some); None for all others.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    rule: str = "native"
    bits: int = 4
    axis: str = "token"
    group: int | None = 32
    gamma: float = 0.7
    table: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        rules = (*RULES, *DECODES, *bitmod.TYPES, "table")
        if self.rule not in rules:
            raise ValueError(f"rule {self.rule!r} must be one of {', '.join(rules)}")
        if not affine.is_integer(self.bits) or self.bits not in self._widths:
            choices = ", ".join(map(str, self._widths))
            raise ValueError(f"bits {self.bits} of rule {self.rule!r} must be one of {choices}")
        if self.axis not in affine.AXES:
            raise ValueError(f"axis {self.axis!r} must be one of {', '.join(affine.AXES)}")
        affine.check_group(self.group)
        ternary.gamma_units(self.gamma)
        if self.rule == "table":
            object.__setattr__(self, "table", table.checked(self.table))
        elif self.table is not None:
            raise ValueError(f"table of rule {self.rule!r} must be None")

    @property
    def kind(self) -> str:
        """One of affine, sign, ternary, bitmod and table."""
        if self.rule in bitmod.TYPES:
            return "bitmod"
        if self.rule == "table":
            return "table"
        return "affine" if self.rule in RULES else DECODES[self.rule][0]

    @property
    def _widths(self) -> tuple[int, ...]:
        """Bits that the rule has."""
        if self.kind == "affine":
            return tuple(bits for bits in affine.BITS if bits >= RULES[self.rule].least_bits)
        own = {"sign": 1, "ternary": 2, "table": table.BITS}
        return (bitmod.TYPES[self.rule] if self.kind == "bitmod" else own[self.kind],)

    @property
    def signed(self) -> bool:
        """Whether a code stands for itself less 2^(bits - 1), and no zero is stored."""
        return self.kind == "affine" and not RULES[self.rule].has_zero

    @property
    def fields(self) -> tuple[tuple[str, np.dtype], ...]:
        """Numbers of a group in a page, in order: name and little-endian format. Selectors follow them."""
        if self.kind != "affine":
            return () if self.rule == "ternary_published" else (("scale", np.dtype("<f2")),)
        kept = np.dtype(RULES[self.rule].kept).newbyteorder("<")
        return (("scale", kept), ("zero", kept))[: 1 + RULES[self.rule].has_zero]

    @property
    def selector_bits(self) -> int:
        """Bits of a group's selector in a page; tables are turned by the sign of the scale instead."""
        return self.dtype.selector_bits if self.kind == "bitmod" else 0

    @property
    def coding(self) -> codings.Coding:
        """How its codes are laid out."""
        return codings.get("trits") if self.kind == "ternary" else codings.of_width(self.bits)

    @property
    def dtype(self) -> datatypes.DataType:
        """Data type of the array that holds the integers; those of n bits carry the zero point 2^(n-1)."""
        if self.table is not None:
            return datatypes.table(self.rule, self.table)
        if self.kind in ("ternary", "bitmod"):
            return datatypes.get(self.rule if self.kind == "bitmod" else "ternary")
        if self.bits == 1:
            return datatypes.get("binary01")
        return datatypes.get(f"int{self.bits}" if self.signed else f"int{self.bits}_asym")

    @property
    def stored(self) -> NDArray[np.uint8]:
        """What lies in a page for every code: that of ``dtype`` for the same integer less its zero point."""
        codes = np.arange(1 << self.coding.bits, dtype=np.uint8)
        if self.dtype.decoder != "integer" or not self.dtype.uniform:
            return codes
        return self.dtype.code_of[codes ^ 1 << self.bits - 1]

    def groups(self, tokens: int, channels: int) -> tuple[int, int]:
        """Shape of a metadata field of so many tokens and channels."""
        length = channels if self.axis == "token" else tokens
        size = self.group or length
        if length % size:
            raise ValueError(f"{self.axis} axis of {length} elements must be a multiple of the group {size}")
        return (tokens, channels // size) if self.axis == "token" else (tokens // size, channels)

    def quantize(self, x: ArrayLike) -> Quantized:
        """Quantise [..., T, D]; ``zero`` is all zeros where the format has none.

        Raises:
            ValueError: the shape does not fit, or an element is not finite in float16.
        """
        if self.kind == "affine":
            return affine.quantize(x, self.bits, self.axis, self.group, self.rule)
        if self.kind == "bitmod":
            return bitmod.quantize(x, self.rule, self.axis, self.group)
        if self.table is not None:
            return table.quantize(x, self.table, self.axis, self.group)
        if self.kind == "sign":
            return sign.quantize(x, self.axis, self.group)
        return ternary.quantize(x, self.axis, self.group, self.gamma, DECODES[self.rule][1])

    def integers(self, codes: NDArray[np.uint8], zero: NDArray | None = None) -> NDArray[np.int16]:
        """The integers that codes [..., T, D] stand for; those of BitMoD's types need their groups' zeros.

        Raises:
            ValueError: zeros are missing.
        """
        if self.kind == "bitmod":
            if zero is None:
                raise ValueError(f"rule {self.rule!r} must have selectors")
            return bitmod.integers(codes, self.spread(zero, *codes.shape[-2:]), self.rule)
        if self.table is not None:
            return np.array(self.table, np.int16)[codes]
        if self.signed:
            return codes.astype(np.int16) - (1 << self.bits - 1)
        return (ternary.TRITS[codes] if self.kind == "ternary" else codes).astype(np.int16)

    def line(self, scale: NDArray, zero: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step and offset of every group, float64, in the shape of ``scale``."""
        if self.signed or self.kind in ("bitmod", "table"):
            step = scale.astype(np.float64)
            return step, np.zeros_like(step)
        if self.kind == "affine":
            return affine.line(scale, zero, self.bits, self.rule)
        return self._line(scale, DECODES[self.rule][1])

    def _line(self, scale: NDArray, decode: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step and offset of signs and trits."""
        if self.kind == "sign":
            return sign.line(scale, decode)
        return ternary.line(np.ones_like(scale) if decode == "published" else scale)

    def largest_field(self, scale: NDArray, zero: NDArray) -> NDArray[np.int64]:
        """Largest exponent field of any step and offset as float16, over the last two axes: 1..31."""
        with np.errstate(over="ignore"):
            line = [part.astype(np.float16) for part in self.line(scale, zero)]
        return np.max([floats.half_parts(part)[1].max((-2, -1), initial=1) for part in line], 0)

    def spread(self, per_group: NDArray, tokens: int, channels: int) -> NDArray:
        """Repeat a metadata field [..., groups] over the elements of its groups: [..., T, D]."""
        shape = self.groups(tokens, channels)
        place = -1 if self.axis == "token" else -2
        return np.repeat(per_group, (tokens, channels)[place] // shape[place], axis=place)

    def decode(self, quantized: Quantized, decode: str = "scaled") -> NDArray[np.float32]:
        """Values [..., T, D] in float32.

        Args:
            quantized: what ``quantize`` made.
            decode: "scaled", ``integer * step + offset`` in float64, rounded once: what attention computes
                with, but here no magnitude exceeds 65504; or "published", as the system's own code has it:
                affine rules round after each operation, signs and trits miss what they miss there.

        Raises:
            ValueError: another decoding.
        """
        if decode == "scaled":
            return self._values(quantized, self.line(quantized.scale, quantized.zero)).astype(np.float32)
        if decode != "published":
            raise ValueError(f"decode {decode!r} must be one of scaled, published")
        if self.kind == "affine":
            own = affine.dequantize(*quantized, self.bits, self.axis, self.group, self.rule)
            return own.astype(np.float32)
        published = self.kind in ("sign", "ternary")
        line = self._line(quantized.scale, decode) if published else self.line(*quantized[1:])
        return self._values(quantized, line).astype(np.float32)

    def decode_half(self, quantized: Quantized) -> NDArray[np.float16]:
        """Values [..., T, D] in float16, as ``hw.kv.dequantiser`` has them: one rounding, to nearest even.

        Above the range of float16 they are its largest numbers. A zero is +0: a product of a code and a
        scale, or twice one, is never -0, so that its sum with an offset is not either; trits and tables,
        whose scales may be negative, have the offset +0.

        The sum is exact in float64 if scale and zero are finite float16, the scale not negative but of a
        table, and the rule is ``native``, BitMoD's, signs, trits or a table: in units of 2^-24 an offset is
        an integer below 2^40 and a product one below 2^48 (40 bits and 8), so that their sum stays below
        2^49.

        Raises:
            ValueError: a rule whose metadata are wider than float16.
        """
        if any(kind.itemsize > 2 for _, kind in self.fields):
            raise ValueError(f"rule {self.rule!r} must keep its metadata in float16")
        return self._values(quantized, self.line(*quantized[1:])).astype(np.float16)

    def _values(self, quantized: Quantized, line: tuple[NDArray, NDArray]) -> NDArray[np.float64]:
        """Elements on the lines of their groups; magnitudes saturate where those of float16 end."""
        step, offset = (self.spread(part, *quantized.codes.shape[-2:]) for part in line)
        values = np.multiply(self.integers(quantized.codes, quantized.zero), step) + offset
        return np.clip(values, -magnitudes.LARGEST, magnitudes.LARGEST)
