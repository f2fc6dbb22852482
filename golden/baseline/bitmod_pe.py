"""BitMoD's processing element: four FP16 activations times four bit-serial weight terms a cycle.

After the HPCA 2025 paper (arXiv 2411.11745): terms of section IV-A, datapath of section IV-B and Fig. 5, with
its widths. A term is ``(-1)^sign * man * 2^exp * 2^bsig``, ``bsig`` being shared by the four lanes. What the
paper leaves open is decided here:

- Everything that is shifted out is dropped: magnitudes of lanes toward zero, sums and accumulators downwards.
  The paper keeps three guard bits but names no rounding.
- The largest exponent of a cycle is that of the lanes whose ``man`` is 1; lanes without a term do not count.
- Sum and accumulator meet at the larger of their exponents. The accumulator is normalised to 15 bits by right
  shifts only; after cancellation it keeps its exponent.
- The adder has 24 bits. 23, as drawn, overflow with four full-size lanes at ``bsig`` 6.
- A subnormal activation has the exponent field 1 and no hidden bit; infinity and NaN count as numbers.
- Scales are unsigned and have 8 bits. Their product with the accumulator is kept exact in 23 bits; a final
  normalisation to 21 would cost a shifter and precision and nothing behind it is specified.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from golden.numbers import datatypes

__all__ = [
    "ACCUMULATOR",
    "GUARD",
    "LANES",
    "SCALE_BITS",
    "UNIT",
    "Accumulator",
    "Term",
    "accumulate",
    "booth_terms",
    "dequantise",
    "float_terms",
    "group",
    "has",
    "terms",
    "terms_of",
]

LANES = 4
GUARD = 3
"""Bits kept below an activation's last place when lanes are aligned."""

ACCUMULATOR = 15
"""Bits of the accumulator's signed mantissa."""

SCALE_BITS = 8
UNIT = -(15 + 10 + GUARD)
"""An accumulator is ``mantissa * 2**(exponent + UNIT)``."""

_ALIGNED = 11 + GUARD


@dataclass(frozen=True)
class Term:
    """A lane's share of a weight in one cycle: ``(-1)^sign * man * 2^exp``; exp 0..3, man 0 or 1."""

    sign: int
    exp: int
    man: int


@dataclass(frozen=True)
class Accumulator:
    """``mantissa * 2**(exponent + UNIT)``; signed mantissa of ACCUMULATOR bits, exponent 0..63."""

    mantissa: int = 0
    exponent: int = 0


def accumulate(
    before: Accumulator, activations: Sequence[int], terms: Sequence[Term], bsig: int
) -> Accumulator:
    """The accumulator after one cycle.

    Args:
        before: the accumulator; ``Accumulator()`` starts a group.
        activations: FP16 bits, one a lane.
        terms: one a lane.
        bsig: 0..6, the place of all terms.
    """
    fields = [bits >> 10 & 31 for bits in activations]
    exponents = [max(e, 1) + t.exp if t.man else 0 for e, t in zip(fields, terms, strict=True)]
    largest = max(exponents)
    total = 0
    for bits, field, exponent, term in zip(activations, fields, exponents, terms, strict=True):
        if term.man:
            significand = bits & 0x3FF | (field > 0) << 10
            aligned = significand << GUARD >> (largest - exponent)
            total += -aligned if (bits >> 15) ^ term.sign else aligned
    total <<= bsig

    common = max(largest, before.exponent)
    mantissa = (total >> (common - largest)) + (before.mantissa >> (common - before.exponent))
    places = max((mantissa if mantissa >= 0 else ~mantissa).bit_length() - (ACCUMULATOR - 1), 0)
    return Accumulator(mantissa >> places, common + places)


def dequantise(accumulator: Accumulator, scale: int) -> tuple[int, int]:
    """A group's scaled mantissa and its exponent: ``mantissa * 2**(exponent + UNIT)``.

    Raises:
        ValueError: the scale is no unsigned number of SCALE_BITS bits.
    """
    if not 0 <= scale < 1 << SCALE_BITS:
        raise ValueError(f"scale {scale} must be 0..{(1 << SCALE_BITS) - 1}")
    return accumulator.mantissa * scale, accumulator.exponent


def group(cycles: Iterable[tuple[Sequence[int], Sequence[Term], int]]) -> Accumulator:
    """The accumulator after all cycles of a group: (activations, terms, bsig) each."""
    accumulator = Accumulator()
    for activations, terms, bsig in cycles:
        accumulator = accumulate(accumulator, activations, terms, bsig)
    return accumulator


def booth_terms(value: int, bits: int) -> list[tuple[Term, int]]:
    """Radix-4 Booth digits of a two's-complement integer: (term, bsig), lowest place first.

    Raises:
        ValueError: the value does not fit.
    """
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"value {value} does not fit {bits} bits")
    found = []
    for place in range(0, bits, 2):
        window = (value << 1 >> place) & 7
        digit = (window & 1) + (window >> 1 & 1) - 2 * (window >> 2)
        found.append((Term(int(digit < 0), int(abs(digit) == 2), int(digit != 0)), place))
    return found


def float_terms(halves: int) -> list[tuple[Term, int]]:
    """The two terms of an FP3 or FP4 value given in units of 0.5: (term, bsig).

    The lowest one-bit goes to the lower window if it lies there and the rest to the higher one, so that a
    value of one bit is not counted twice. Terms count in units of 0.5.

    Raises:
        ValueError: the value needs more than two terms, or more than five bits.
    """
    magnitude, sign = abs(halves), int(halves < 0)
    low = magnitude & -magnitude if magnitude & 15 else 0
    found = []
    for part, bsig in ((magnitude - low, 1), (low, 0)):
        window = part >> bsig
        if window & (window - 1) or window > 8 or window << bsig != part:
            raise ValueError(f"{halves} halves have no two terms")
        found.append((Term(sign, max(window.bit_length() - 1, 0), int(window > 0)), bsig))
    return found


def has(dtype: str) -> bool:
    """Whether the element has a data type: FP3, FP4 and symmetric integers of 3 to 8 bits."""
    kind = datatypes.get(dtype)
    return kind.decoder in ("integer", "fp4") and 3 <= kind.bits <= 8 and not kind.asymmetric


def terms_of(dtype: str) -> int:
    """Cycles that four weights of a data type take: two for FP3 and FP4, else a Booth digit for two bits.

    Raises:
        ValueError: the element has no such type.
    """
    kind = datatypes.get(dtype)
    if not has(dtype):
        raise ValueError(f"BitMoD's processing element has no type {dtype}")
    return 2 if _is_float(kind) else -(-kind.bits // 2)


def terms(dtype: str, integer: int) -> list[tuple[Term, int]]:
    """Terms of a value, given in a data type's own integer units: (term, bsig)."""
    kind = datatypes.get(dtype)
    if not _is_float(kind):
        return booth_terms(integer, kind.bits)
    return float_terms(int(2 * integer * kind.step))


def _is_float(kind: datatypes.DataType) -> bool:
    return kind.decoder == "fp4"
