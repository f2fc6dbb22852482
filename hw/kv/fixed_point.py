"""Float16 magnitudes as integers of a window that hangs on a scale.

A float16 is ``mantissa * 2**(field - 25)``, its field 1 for subnormals. Relative to a scale with the field
``reference`` an element is counted in half units of the scale's last place, with ``INTEGER_BITS`` above and
``FRACTION_BITS`` below the point. The fraction holds everything that a float16 can have below; what lies
above is dropped, since differences of two such numbers that belong to a group are small: their range is at
most a few steps of the scale. With ``UNITS`` as reference, bit 0 is worth 2**-24, the unit of
``golden.kv.rules``.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.utils import ceil_log2

from golden.kv.codings import CODINGS

__all__ = [
    "FINITE_BITS",
    "FRACTION_BITS",
    "INTEGER_BITS",
    "LARGEST_MAGNITUDE",
    "MANTISSA_BITS",
    "UNITS",
    "WINDOW_BITS",
    "field",
    "mantissa",
    "window",
]

MANTISSA_BITS = 11
UNITS = 30
"""Largest field of a finite float16."""

_CODE_BITS = max(coding.bits for coding in CODINGS)
QUOTIENT_BITS = _CODE_BITS + 2
"""Twice a code, before it saturates: a range is at most 1.5 * (2**bits - 1) scales (2 * for 1 bit)."""

FINITE_BITS = UNITS + MANTISSA_BITS - 1
"""Magnitude of a finite float16 in units of 2**-24."""

LARGEST_MAGNITUDE = 0x7BFF
"""Of a finite float16, as it is encoded."""

INTEGER_BITS = QUOTIENT_BITS + MANTISSA_BITS
FRACTION_BITS = UNITS - 2
WINDOW_BITS = INTEGER_BITS + FRACTION_BITS


def field(half: Value) -> Value:
    """Exponent field of a float16, 1 for subnormals."""
    return Cat(half[10] | ~half[10:15].any(), half[11:15])


def mantissa(half: Value) -> Value:
    """Mantissa of a float16, 11 bits."""
    return Cat(half[:10], half[10:15].any())


def window(m: Module, half: Value, reference: Value, name: str) -> Signal:
    """Magnitude of a float16 in the window of ``reference``, at most 30; combinational.

    A reference may lie below 1, down to where twice ``WINDOW_BITS`` would not hold a mantissa any more.
    """
    amount = Signal(range(2 * WINDOW_BITS), name=f"{name}_amount")
    m.d.comb += amount.eq(field(half) - reference + FRACTION_BITS + 1)
    places = ceil_log2(WINDOW_BITS)
    shifted = Mux(amount[places:].any(), 0, mantissa(half))  # it would all be above the window
    for place in range(places):
        moved = (shifted << (1 << place))[:WINDOW_BITS]
        stage = Signal(len(moved), name=f"{name}_shifted_{place}")
        m.d.comb += stage.eq(Mux(amount[place], moved, shifted))
        shifted = stage
    return shifted
