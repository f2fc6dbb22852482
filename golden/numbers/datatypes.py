"""The one table of data types: what every code means and how its value splits into bit-serial terms.

A weight (or a cached key or value) is a short code. Its data type maps the code to an integer, in units of
``step``, and the integer to a fixed number of *terms*, one a cycle:

    integer = sum over t of (-1)^negative[t] * magnitude[t] * 2^shifts[t]

Terms are digits, most significant first: signed radix-16 digits of an integer, so that a code of up to four
bits takes one cycle and one of eight bits two; octal digits of the magnitude of a wider minifloat. BitMoD
(HPCA 2025, section IV-A) takes powers of two as magnitudes and therefore two cycles for four bits. Here a
magnitude is one of ten multiples of the activation, which all rows of the array share, so a cycle does twice
the work for little more than the choice among more wires:

    0, 1, 2, 3, 4, 6, 8, 12 and two programmable ones, the first 5 or 10, the second 7 or 16.

The eight fixed ones are the magnitudes of FP4 (E2M1) in units of one half, in the order of its codes. Codes
that would be "-0" in FP3 and FP4 stand for the group's special value (BitMoD, section III-A).

Integers are stored the same way, so that one circuit reads them too: every digit is a sign and a magnitude,
and its "-0" is its most negative value. Only the first digit of INT5 to INT8 can need both ends of its range,
+8 as well as -8 in INT8; it is positive where the digit below is negative.

Hardware sees every code in a byte (``lane``), its first digit on top, which makes types of different widths
share one decoder. A new data type is one new entry of ``_TABLE``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = [
    "FIXED_MAGNITUDES",
    "IQ4_NL",
    "LANE_BITS",
    "MAXIMUM_TERMS",
    "PROGRAMMABLE_MAGNITUDES",
    "SPECIALS",
    "TABLE_LARGEST",
    "TABLE_ROWS",
    "DataType",
    "Term",
    "get",
    "names",
    "table",
]

LANE_BITS = 8
MAXIMUM_TERMS = 3
SPECIALS = 4
TABLE_ROWS = 16
TABLE_LARGEST = 127
FIXED_MAGNITUDES = (0, 1, 2, 3, 4, 6, 8, 12)
PROGRAMMABLE_MAGNITUDES = ((5, 10), (7, 16))
_DIGIT_BITS = 4
_OCTAL_BITS = 3
_RADIX_16 = ("integer", "table")
IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""Values of GGUF's IQ4_NL, for ``table``."""


class Term(NamedTuple):
    """One bit-serial term: a sign and which of the type's ten magnitudes."""

    negative: int
    select: int


def _digits(value: int, count: int) -> list[int]:
    """Signed radix-16 digits -8..7, most significant first; the first one keeps what remains."""
    digits = []
    for _ in range(count - 1):
        digits.append((value + 8 & 15) - 8)
        value = value - digits[-1] >> _DIGIT_BITS
    return [value, *reversed(digits)]


def _octal_digits(value: int, count: int) -> list[int]:
    """Radix-8 digits of a magnitude, most significant first; the first one keeps what remains."""
    places = range(_OCTAL_BITS * (count - 1), 0, -_OCTAL_BITS)
    return [value >> place & (7 if number else -1) for number, place in enumerate((*places, 0))]


@dataclass(frozen=True)
class DataType:
    """One data type.

    Attributes:
        name: as used on every command line.
        bits: width of a code; ``packed_bits`` is what one code takes in a packed burst.
        term_count: cycles that one code takes.
        decoder: which circuit turns codes into terms; types of one decoder share it.
        integers: integer value of every code; None where the group's special value stands.
        step: real value of one integer unit in the source's own units.
        programmable: the two magnitudes beside the fixed ones, one of each of ``PROGRAMMABLE_MAGNITUDES``.
        specials: the values a group may put there, in the search order of the source; of a ``table`` the
            signs that a group may give to all its values.
        asymmetric: groups carry a zero point.
        source: where the type is defined.
    """

    name: str
    bits: int
    term_count: int
    decoder: str
    integers: tuple[int | None, ...]
    step: float = 1.0
    programmable: tuple[int, int] = (5, 7)
    specials: tuple[int, ...] = ()
    asymmetric: bool = False
    source: str = ""

    @property
    def shifts(self) -> tuple[int, ...]:
        """Common left shift of each term, in the order of the cycles."""
        step = _DIGIT_BITS if self.decoder in _RADIX_16 else _OCTAL_BITS
        return tuple(step * place for place in reversed(range(self.term_count)))

    @property
    def packed_bits(self) -> float:
        """Bits of one code in a packed burst: five ternary codes share a byte, the others are dense."""
        return 1.6 if self.name == "ternary" else float(self.bits)

    @property
    def selector_bits(self) -> int:
        """Bits of a group's choice among ``specials``."""
        return max(len(self.specials) - 1, 0).bit_length()

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """The ten magnitudes that a term may select."""
        return (*FIXED_MAGNITUDES, *self.programmable)

    @cached_property
    def largest(self) -> int:
        """Largest magnitude of any value, in integer units; of a table what any table may have.

        A circuit's sums have the same places whatever is loaded.
        """
        if self.decoder == "table":
            return TABLE_LARGEST
        return max(abs(v) for v in (*self.specials, *(v for v in self.integers if v is not None)))

    def values(self, selector: int = 0) -> np.ndarray:
        """Integer value of every code under one selector.

        Args:
            selector: index into ``specials``; 0 where the type has none.

        Returns:
            int32 array of ``2**bits`` values (three for ternary).

        Raises:
            ValueError: the selector is out of range.
        """
        choices = self.specials or (0,)
        if not 0 <= selector < len(choices):
            raise ValueError(f"selector {selector} of {self.name} must be 0..{len(choices) - 1}")
        if self.decoder == "table":
            return choices[selector] * np.array(self.integers, np.int32)
        return np.array([choices[selector] if v is None else v for v in self.integers], np.int32)

    def terms(self, value: int) -> tuple[Term, ...]:
        """Split one of the type's values into ``term_count`` terms, in the order of the cycles.

        Sign-magnitude types split the magnitude and give every term the value's sign.

        Raises:
            ValueError: a digit is not among the type's magnitudes.
        """
        flip = value < 0 and self.decoder not in _RADIX_16
        split = _digits if self.decoder in _RADIX_16 else _octal_digits
        terms = []
        for digit in split(-value if flip else value, self.term_count):
            if abs(digit) not in self.magnitudes:
                raise ValueError(f"digit {digit} of value {value} is not a magnitude of {self.name}")
            negative = (digit < 0) != (flip and digit != 0)
            terms.append(Term(int(negative), self.magnitudes.index(abs(digit))))
        return tuple(terms)

    def term_value(self, term: Term) -> int:
        """Signed value of a term before the cycle's common shift."""
        return -self.magnitudes[term.select] if term.negative else self.magnitudes[term.select]

    @property
    def special_terms(self) -> tuple[Term, ...]:
        """What "-0" stands for, as the term encoder's registers hold it; unused ones are zero.

        A special value is chosen by the selector, that of an integer by the number of the digit.
        """
        specials = self.specials
        if self.uniform:
            specials = tuple(-(1 << bits - 1) for bits in self._digit_widths)
        return tuple(
            Term(int(value < 0), self.magnitudes.index(abs(value)))
            for value in (*specials, *(0,) * (SPECIALS - len(specials)))
        )

    @cached_property
    def uniform(self) -> bool:
        """Whether the values are all integers that two's complement has in as many bits."""
        half = 1 << self.bits - 1
        return None not in self.integers and set(self.integers) == set(range(-half, half))

    @cached_property
    def code_of(self) -> np.ndarray:
        """Codes of a uniform type, uint8, indexed by the value modulo ``2**bits``."""
        codes = np.zeros(1 << self.bits, np.uint8)
        codes[self.values()] = np.arange(1 << self.bits)
        return codes

    @property
    def _digit_widths(self) -> tuple[int, ...]:
        """Bits that a code spends on each digit: the first one takes what whole nibbles leave."""
        return ((self.bits - 1) % _DIGIT_BITS + 1, *(_DIGIT_BITS,) * (self.term_count - 1))

    @property
    def programming(self) -> tuple[int, int]:
        """Which of each pair of ``PROGRAMMABLE_MAGNITUDES`` the type uses, as indices."""
        first, second = PROGRAMMABLE_MAGNITUDES
        return first.index(self.programmable[0]), second.index(self.programmable[1])

    def lane(self, code: int) -> int:
        """Place a code in a byte as the hardware's lanes carry it.

        An integer's digits take a nibble each, the sign on top and the magnitude at the bottom. The other
        types are left-aligned. Binary and ternary codes become the integers they stand for.
        """
        if self.decoder != "integer":
            return code << LANE_BITS - self.bits
        value = self.integers[code]
        assert value is not None
        if not self.uniform:
            return (value < 0) << LANE_BITS - 1 | abs(value) << LANE_BITS - _DIGIT_BITS
        width = self._digit_widths[0]
        digit, rest = divmod(code, 1 << self.bits - width)
        sign, magnitude = divmod(digit, 1 << width - 1)
        return sign << LANE_BITS - 1 | magnitude << LANE_BITS - _DIGIT_BITS | rest


def _integer(bits: int, asymmetric: bool) -> DataType:
    """Integer in digits of sign and magnitude; an asymmetric code is stored minus half its range."""
    rest = _DIGIT_BITS if bits > _DIGIT_BITS else 0
    half = 1 << bits - rest - 1

    def value(code: int) -> int:
        digit, low = divmod(code, 1 << rest)
        below = _sign_magnitude(low, 8) if rest else 0
        first = half if digit == half and below < 0 else _sign_magnitude(digit, half)
        return (first << rest) + below

    return DataType(
        name=f"int{bits}" + ("_asym" if asymmetric else ""),
        bits=bits,
        term_count=(bits + _DIGIT_BITS - 1) // _DIGIT_BITS,
        decoder="integer",
        integers=tuple(value(code) for code in range(1 << bits)),
        asymmetric=asymmetric,
        source="uniform integers",
    )


def _sign_magnitude(code: int, half: int) -> int:
    """Value of a sign bit worth ``half`` above a magnitude; "-0" is ``-half``."""
    return code if code < half else half - code or -half


def _signed(magnitudes: Iterable[int], negative_zero: int | None = 0) -> tuple[int | None, ...]:
    """Sign-magnitude codes: the upper half negates the lower, and -0 reads as ``negative_zero``."""
    positive = tuple(magnitudes)
    return (*positive, negative_zero, *(-value for value in positive[1:]))


def _minifloat(exponent_bits: int, mantissa_bits: int) -> tuple[int, ...]:
    """Magnitudes of a float without infinities, subnormals included, in units of the smallest one."""
    half = 1 << mantissa_bits
    return tuple(
        (mantissa + half * (exponent > 0)) << max(exponent - 1, 0)
        for exponent in range(1 << exponent_bits)
        for mantissa in range(half)
    )


def table(name: str, values: Sequence[int], source: str = "") -> DataType:
    """A type of 16 values of one's own, the rows of a programmable table, with a sign for every group.

    It is not one of ``names()``: only a circuit with a programmable table reads it, once the rows are loaded
    there. Its values take two terms, and ``golden.weights.stored.packable`` gives the same weights as 8-bit
    integers for all others.

    Raises:
        ValueError: not 16 values within -127..127.
    """
    if len(values) != TABLE_ROWS or max(map(abs, values)) > TABLE_LARGEST:
        raise ValueError(f"values {tuple(values)} of {name} must be 16 within -127..127")
    return DataType(name, 4, 2, "table", tuple(values), specials=(1, -1), source=source)


_FP4 = _minifloat(2, 1)
_FP3 = _FP4[::2]
_FLINT4 = (0, 1, 2, 3, 4, 6, 8, 16)
_BITMOD = "BitMoD, HPCA 2025, Table IV"
_MX = "OCP Microscaling Formats 1.0"


def _fp(name: str, bits: int, specials: tuple[int, ...] = (0,), source: str = _BITMOD) -> DataType:
    """FP3 or FP4 with a special value a group (zero: a second zero), in units of one half."""
    codes = _signed(_FP3 if bits == 3 else _FP4, None)
    return DataType(
        name, bits, 1, "fp4", codes, step=0.5, programmable=(10, 16), specials=specials, source=source
    )


_TABLE = (
    DataType("binary", 1, 1, "integer", (1, -1), source="sign, codes 0 and 1 are +1 and -1"),
    DataType("binary01", 1, 1, "integer", (0, 1), source="bit, codes 0 and 1 are themselves"),
    DataType("ternary", 2, 1, "integer", (0, 1, -1), source="trits, five a byte"),
    *(_integer(bits, asymmetric) for bits in range(2, 9) for asymmetric in (False, True)),
    _fp("fp3", 3),
    _fp("fp3_er", 3, (6, -6)),
    _fp("fp3_ea", 3, (12, -12)),
    _fp("bitmod3", 3, (6, -6, 12, -12)),
    _fp("fp4", 4),
    _fp("fp4_er", 4, (10, -10)),
    _fp("fp4_ea", 4, (16, -16)),
    _fp("bitmod4", 4, (10, -10, 16, -16)),
    _fp("e2m1", 4, source=_MX),
    DataType("flint4", 4, 1, "flint4", _signed(_FLINT4), programmable=(5, 16), source="ANT, MICRO 2022"),
    DataType("e2m3", 6, 2, "e2m3", _signed(_minifloat(2, 3)), step=0.125, source=_MX),
    DataType("e3m2", 6, 3, "e3m2", _signed(_minifloat(3, 2)), step=0.0625, source=_MX),
)

_BY_NAME = {entry.name: entry for entry in _TABLE}


def names() -> tuple[str, ...]:
    """Names of all data types, in the order of the table (the order is also their number in a header)."""
    return tuple(_BY_NAME)


def get(name: str) -> DataType:
    """Look a data type up by name.

    Raises:
        ValueError: no such type.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"data type {name!r} must be one of {', '.join(_BY_NAME)}") from None
