"""Twiddles: cosine and sine of an angle as digits that select multiples.

Meaning: ``golden.systems.vidkv.real_fft.COSINES``. The table holds digits of radix 4, -1 to 2, so that
none are worked out; a quarter of a turn serves all angles.
"""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.systems.vidkv.real_fft import COSINES, TWIDDLE_BITS
from hw.systems.fourier.butterfly_walk import TURN_BITS

__all__ = ["DIGITS", "Twiddles", "digit", "factor"]

DIGITS = TWIDDLE_BITS // 2 + 1
_QUARTER = len(COSINES) - 1

digit = data.StructLayout({"one": 1, "two": 1, "negative": 1})
"""Which multiple it selects, 0 where neither; the opposite one where negative."""

factor = data.ArrayLayout(digit, DIGITS)
"""The digit of weight 4^k at place k."""


def _pattern(number: int) -> int:
    """A number of 0 to 2^13 as a ``factor`` of digits -1 to 2."""
    found = 0
    for place in range(DIGITS):
        low = (number + 1) % 4 - 1
        number = (number - low) // 4
        found |= (abs(low) | (low < 0) << 2) << digit.size * place
    return found


class Twiddles(wiring.Component):
    """Look the two factors of a component up.

    A turned back by an angle, (x + i y) has the real part x cos + y sin, the imaginary part y cos - x sin.

    Members:
        turn (in): the angle, in 64ths of a turn, 0 to 32.
        imaginary (in): which of the components.
        real_factor, imaginary_factor (out): of x and of y; combinational.
    """

    turn: In(TURN_BITS)
    imaginary: In(1)
    real_factor: Out(factor)
    imaginary_factor: Out(factor)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        table = Array(_pattern(cosine) for cosine in COSINES)
        folded = Signal(range(_QUARTER + 1))
        rest = Signal.like(folded)
        beyond = Signal()  # a quarter, where cosines are negative
        m.d.comb += [
            beyond.eq(self.turn > _QUARTER),
            folded.eq(Mux(beyond, 2 * _QUARTER - self.turn, self.turn)),
            rest.eq(_QUARTER - folded),
        ]
        for name, place, negative in (
            ("real", Mux(self.imaginary, rest, folded), self.imaginary | beyond),
            ("imaginary", Mux(self.imaginary, folded, rest), self.imaginary & beyond),
        ):
            found = Signal(factor, name=f"{name}_digits")
            chosen = getattr(self, f"{name}_factor")
            m.d.comb += found.eq(table[place])
            for number in range(DIGITS):
                m.d.comb += [
                    chosen[number].one.eq(found[number].one),
                    chosen[number].two.eq(found[number].two),
                    chosen[number].negative.eq(found[number].negative ^ negative),
                ]
        return m
