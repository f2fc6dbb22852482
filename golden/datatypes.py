"""The one table of data types: what every code means and how its value splits into bit-serial terms.

A weight (or a cached key or value) is a short code. Its data type maps the code to an integer, in units of
``step``, and the integer to a fixed number of *terms*, one a cycle:

    integer = sum over t of (-1)^negative[t] * 2^(select[t] - 1) * 2^shifts[t]      (select 0: no term)

``shifts`` is common to all lanes in a cycle; the local exponent ``select - 1`` is 0, 1 or 2. That small range
is what keeps the circuit's shifters small, and it covers every type below:

* integers use radix-4 Booth digits -2..2, two code bits a cycle (BitMoD, HPCA 2025, section IV-A);
* small floats use the shortest split that fits the windows, for example 3 = 4 - 1 and 6 = 4 + 2;
* codes that would be "-0" in FP3 and FP4 stand for the group's special value (BitMoD, section III-A).

Hardware sees every code left-aligned in a byte (``lane``), which makes types of different widths share one
decoder. A new data type is one new entry of ``_TABLE``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

__all__ = ["LANE_BITS", "MAXIMUM_TERMS", "DataType", "Term", "get", "names", "split"]

LANE_BITS = 8
MAXIMUM_TERMS = 4
_SELECTORS = 4


class Term(NamedTuple):
    """One bit-serial term: ``(-1)^negative * 2^(select - 1)``, or nothing when ``select`` is 0."""

    negative: int
    select: int

    @property
    def value(self) -> int:
        """Signed value before the cycle's common shift: 0, ±1, ±2 or ±4."""
        magnitude = (1 << self.select) >> 1
        return -magnitude if self.negative else magnitude


_TERMS = (Term(0, 0), *(Term(negative, select) for select in (1, 2, 3) for negative in (0, 1)))


@cache
def _splits(shifts: tuple[int, ...]) -> dict[int, tuple[Term, ...]]:
    """Best split of every reachable integer: fewest terms, then fewest signs against the value's own."""
    best: dict[int, tuple[tuple[int, int], tuple[Term, ...]]] = {}
    for terms in product(_TERMS, repeat=len(shifts)):
        value = sum(term.value << shift for term, shift in zip(terms, shifts, strict=True))
        against = sum(term.value * value < 0 for term in terms)
        cost = (sum(term.select > 0 for term in terms), against)
        if value not in best or cost < best[value][0]:
            best[value] = (cost, terms)
    return {value: terms for value, (_, terms) in best.items()}


def split(value: int, shifts: tuple[int, ...]) -> tuple[Term, ...]:
    """Split an integer into one term for each entry of ``shifts``.

    Raises:
        ValueError: no choice of terms gives ``value``.
    """
    try:
        return _splits(shifts)[value]
    except KeyError:
        raise ValueError(
            f"value {value} does not split into {len(shifts)} terms at shifts {shifts}"
        ) from None


def _booth(value: int, terms: int) -> tuple[Term, ...]:
    """Radix-4 Booth digits of a two's complement integer of ``2 * terms`` bits, most significant first."""
    digits = []
    for position in range(2 * (terms - 1), -1, -2):
        window = (value << 1) >> position & 0b111
        digit = (window & 1) + (window >> 1 & 1) - 2 * (window >> 2)
        digits.append(Term(int(digit < 0), abs(digit)))
    return tuple(digits)


@dataclass(frozen=True)
class DataType:
    """One data type.

    Attributes:
        name: as used on every command line.
        bits: width of a code; ``packed_bits`` is what one code takes in a packed burst.
        step: real value of one integer unit in the source's own units.
        decoder: which circuit turns codes into terms; types of one decoder share it.
        shifts: common left shift of each term, in the order of the cycles.
        integers: integer value of every code; None where the group's special value stands.
        specials: the values a group may put there, in the search order of the source.
        asymmetric: groups carry a zero point.
        source: where the type is defined.
    """

    name: str
    bits: int
    decoder: str
    shifts: tuple[int, ...]
    integers: tuple[int | None, ...]
    step: float = 1.0
    specials: tuple[int, ...] = ()
    asymmetric: bool = False
    source: str = ""

    @property
    def term_count(self) -> int:
        """Cycles that one code takes."""
        return len(self.shifts)

    @property
    def packed_bits(self) -> float:
        """Bits of one code in a packed burst: five ternary codes share a byte, the others are dense."""
        return 1.6 if self.name == "ternary" else float(self.bits)

    @property
    def selector_bits(self) -> int:
        """Bits of a group's choice among ``specials``."""
        return max(len(self.specials) - 1, 0).bit_length()

    @cached_property
    def special_code(self) -> int | None:
        """The code that stands for the group's special value, or None."""
        return self.integers.index(None) if None in self.integers else None

    @cached_property
    def largest(self) -> int:
        """Largest magnitude of any value, in integer units."""
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
        return np.array([choices[selector] if v is None else v for v in self.integers], np.int32)

    def terms(self, value: int) -> tuple[Term, ...]:
        """Split one of the type's values into ``term_count`` terms, in the order of the cycles."""
        if self.decoder == "booth":
            return _booth(value, self.term_count)
        return split(value, self.shifts)

    @property
    def special_terms(self) -> tuple[tuple[Term, ...], ...]:
        """Terms of four special values (absent ones are zero), as the term encoder's registers hold them."""
        padded = (*self.specials, *(0,) * (_SELECTORS - len(self.specials)))
        return tuple(split(value, self.shifts) for value in padded)

    def lane(self, code: int) -> int:
        """Place a code in a byte as the hardware's lanes carry it.

        Booth types are sign-extended to an even width first; every type is then left-aligned. Binary codes
        become the two-bit integers they stand for.
        """
        if self.decoder == "booth":
            width = 2 * self.term_count
            value = self.integers[code]
            assert value is not None
            return (value & (1 << width) - 1) << LANE_BITS - width
        return code << LANE_BITS - self.bits


def _integer(bits: int, asymmetric: bool) -> DataType:
    """Two's complement integer; an asymmetric code is stored minus half its range."""
    count = 1 << bits
    return DataType(
        name=f"int{bits}" + ("_asym" if asymmetric else ""),
        bits=bits,
        decoder="booth",
        shifts=tuple(range(2 * ((bits + 1) // 2 - 1), -1, -2)),
        integers=tuple(code - count * (code >= count // 2) for code in range(count)),
        asymmetric=asymmetric,
        source="uniform integers",
    )


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


_FP3 = (0, 1, 2, 4)
_FP4 = _minifloat(2, 1)
_BITMOD = "BitMoD, HPCA 2025, Table IV"
_MX = "OCP Microscaling Formats 1.0"


def _bitmod(name: str, bits: int, specials: tuple[int, ...]) -> DataType:
    """FP3 or FP4 with a special value a group, in units of one half."""
    magnitudes = tuple(2 * value for value in _FP3) if bits == 3 else _FP4
    codes = _signed(magnitudes, None)
    return DataType(name, bits, "fp4", (2, 0), codes, step=0.5, specials=specials, source=_BITMOD)


_TABLE = (
    DataType("binary", 1, "booth", (0,), (1, -1), source="sign, codes 0 and 1 are +1 and -1"),
    DataType("binary01", 1, "booth", (0,), (0, 1), source="bit, codes 0 and 1 are themselves"),
    DataType("ternary", 2, "booth", (0,), (0, 1, -1), source="trits, five a byte"),
    *(_integer(bits, asymmetric) for bits in range(2, 9) for asymmetric in (False, True)),
    DataType("fp3", 3, "fp3", (0,), _signed(_FP3), source=_BITMOD),
    _bitmod("fp3_er", 3, (6, -6)),
    _bitmod("fp3_ea", 3, (12, -12)),
    _bitmod("bitmod3", 3, (6, -6, 12, -12)),
    DataType("fp4", 4, "fp4", (2, 0), _signed(_FP4, None), step=0.5, specials=(0,), source=_BITMOD),
    _bitmod("fp4_er", 4, (10, -10)),
    _bitmod("fp4_ea", 4, (16, -16)),
    _bitmod("bitmod4", 4, (10, -10, 16, -16)),
    DataType("e2m1", 4, "fp4", (2, 0), _signed(_FP4, None), step=0.5, specials=(0,), source=_MX),
    DataType("flint4", 4, "flint4", (2, 0), _signed((0, 1, 2, 3, 4, 6, 8, 16)), source="ANT, MICRO 2022"),
    DataType("e2m3", 6, "e2m3", (4, 2, 0), _signed(_minifloat(2, 3)), step=0.125, source=_MX),
    DataType("e3m2", 6, "e3m2", (7, 5, 2, 0), _signed(_minifloat(3, 2)), step=0.0625, source=_MX),
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
