"""Butterfly: sum and difference of a complex number and of another one that is turned back by an angle.

Meaning: the third rounding of ``golden.systems.vidkv.real_fft``. Real parts are worked out in one cycle,
imaginary parts in the next one, with the same rows of multiples.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.systems.vidkv.real_fft import GUARD_BITS, LENGTHS, TWIDDLE_BITS
from hw.kv.fixed_point import MANTISSA_BITS
from hw.numbers.carry_save import Bits, compress
from hw.numbers.pipeline import hold
from hw.systems.fourier.twiddles import DIGITS, factor

__all__ = ["LATENCY", "PART_BITS", "Butterfly", "complex_word"]

_GROWTH = (LENGTHS[-1] - 1).bit_length()
PART_BITS = MANTISSA_BITS + GUARD_BITS + _GROWTH + 1
"""Of a real or an imaginary part, sign included: a column is a sum of at most 64 elements."""
_FACTOR_BITS = PART_BITS - 1
"""Of a part that is turned."""
_SUM_BITS = PART_BITS + TWIDDLE_BITS
LATENCY = 2

complex_word = data.StructLayout({"real": PART_BITS, "imaginary": PART_BITS})
"""A complex number, both parts signed."""


class Butterfly(wiring.Component):
    """Work a part out each cycle: of a number's real part the first one, of its imaginary part the next one.

    Members:
        first (in): the real part of the first number with the real factors, and then the imaginary one.
        real, imaginary (in): parts of the second number, a bit less, in both cycles.
        real_factor, imaginary_factor (in): what they are multiplied with (``hw.systems.fourier.twiddles``).
        sum, difference (out): that part of the results, ``LATENCY`` cycles later.
    """

    first: In(PART_BITS)
    real: In(_FACTOR_BITS)
    imaginary: In(_FACTOR_BITS)
    real_factor: In(factor)
    imaginary_factor: In(factor)
    sum: Out(PART_BITS)
    difference: Out(PART_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = [
            *self._multiples(m, "real", self.real, self.real_factor),
            *self._multiples(m, "imaginary", self.imaginary, self.imaginary_factor),
        ]
        # Signs are not extended: they are inverted in their rows, and this takes off what that adds.
        excess = sum(2 << _FACTOR_BITS + 2 * place for place in range(DIGITS))
        rows.append(_ones(-excess % (1 << _SUM_BITS)))
        left, right = compress(m, rows, _SUM_BITS, name="product")
        product = [hold(m, None, "left", left), hold(m, None, "right", right)]
        first = hold(m, None, "first", self.first)
        half = 1 << TWIDDLE_BITS - 1
        # A difference takes the complements of both rows, each of which lacks one.
        for name, terms, ones in (
            ("sum", product, 0),
            ("difference", [~product[0], ~product[1]], len(product)),
        ):
            wide = Signal(_SUM_BITS, name=f"wide_{name}")
            terms = compress(m, [[*_ones(half + ones), *first], *terms], _SUM_BITS, name=name)
            m.d.comb += wide.eq(terms[0] + terms[1])
            m.d.comb += getattr(self, name).eq(hold(m, None, name, wide[TWIDDLE_BITS:]))
        return m

    def _multiples(self, m: Module, name: str, number: Value, digits: data.View) -> list[Bits]:
        """A row for each digit, with its sign inverted, and the ones that negative rows lack."""
        rows: list[Bits] = []
        lacking: list[Value | None] = []
        for place in range(DIGITS):
            digit = digits[place]
            multiple = Signal(_FACTOR_BITS + 1, name=f"{name}_multiple_{place}")
            m.d.comb += multiple.eq(
                Mux(digit.one, Cat(number, number[-1]), Mux(digit.two, Cat(Const(0, 1), number), 0))
                ^ digit.negative.replicate(_FACTOR_BITS + 1)
            )
            rows.append([*[None] * (2 * place), *multiple[:-1], ~multiple[-1]])
            lacking += [digit.negative, None]
        return [*rows, lacking]


def _ones(number: int) -> Bits:
    """The bits of a constant, as many as a factor's fraction has or as it takes."""
    length = max(number.bit_length(), TWIDDLE_BITS)
    return [Const(1, 1) if number >> place & 1 else None for place in range(length)]
