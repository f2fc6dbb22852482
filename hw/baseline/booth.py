"""Rows of a product of unsigned integers by Booth's digits of two bits (radix 4, -2 to 2).

Half as many rows as the factor has bits, so fewer full adders and two levels less than a matrix of AND gates.
The tricks:

- The multiplicand is complemented for a negative digit before its multiple is selected, while the digit is
  being recoded; bits next to each other share the complement.
- A digit of 111, which is zero, selects nothing and is not negative: its missing one is not there to add.
- Signs are not extended: an inverted sign bit and constants take their place (those of the first row are
  folded into three bits of its sign).
- The uppermost digit of an unsigned factor is not negative.
"""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal, Value

from hw.baseline.columns import HALF
from hw.baseline.multiplier import Column

__all__ = ["partial_products"]

_RECODED, _SELECTED = 1.2, 0.4
"""Delays in full adders: the lines of a digit, a bit of the multiple that they select."""

Times = Sequence[float]
"""Arrival of bits in full adders."""


def partial_products(m: Module, a: Value, b: Value, times: tuple[Times, Times]) -> list[Column]:
    """Columns of bits that sum up to ``a * b``, modulo two to the power of their number.

    Args:
        m: module that gets the gates.
        a: multiplicand, of an odd number of bits.
        b: factor that is recoded, as wide.
        times: arrival of the bits of both.
    """
    size = len(a)
    columns: list[Column] = [[] for _ in range(2 * size)]
    for digit in range(size // 2 + 1):
        places = [place for place in range(2 * digit - 1, 2 * digit + 2) if 0 <= place < size]
        window = [
            b[place] if place in places else Const(0, 1) for place in range(2 * digit - 1, 2 * digit + 2)
        ]
        known = max(times[1][place] for place in places)
        last = digit == size // 2
        for place, bit in enumerate(_multiple(m, a, window, digit, last)):
            ready = max(times[0][max(place - 1, 0) : place + 1]) + HALF
            columns[2 * digit + place].append((max(known + _RECODED, ready) + _SELECTED, bit))
        if not last:
            low, middle, high = window
            sign = Signal(name=f"sign_{digit}")
            m.d.comb += sign.eq(high & ~(middle & low))
            for place, bit in _signs(sign, digit, size):
                columns[place].append((known + HALF, bit))
    for place in range(size + 4, 2 * size, 2):
        columns[place].append((0.0, Const(0, 1)))
    return columns


def _multiple(m: Module, a: Value, window: Sequence[Value], digit: int, last: bool) -> list[Value]:
    """Complements of the bits of a row, without its sign."""
    low, middle, high = window
    one, two = Signal(name=f"one_{digit}"), Signal(name=f"two_{digit}")
    m.d.comb += [one.eq(middle ^ low), two.eq(middle & low if last else (high ^ middle) & ~one)]
    bits: list[Value] = [Const(0, 1), *a, Const(0, 1)]
    if not last:
        for place, bit in enumerate(bits[1:], 1):
            bits[place] = Signal(name=f"signed_{digit}_{place}")
            m.d.comb += bits[place].eq(bit ^ high)
        bits[0] = high
    row: list[Value] = []
    for place in range(len(a) + 1):
        row.append(Signal(name=f"partial_{digit}_{place}"))
        m.d.comb += row[-1].eq(~((bits[place + 1] & one) | (bits[place] & two)))
    return row


def _signs(sign: Value, digit: int, size: int) -> list[tuple[int, Value]]:
    """Places and complements of the one that a negative row lacks, and of its sign."""
    missing = (2 * digit, ~sign)
    if digit:
        return [missing, (2 * digit + size + 1, sign)]
    return [missing, (size + 1, ~sign), (size + 2, ~sign), (size + 3, sign)]
