"""FP16 multiply, FP32 accumulate, correctly rounded: the yardstick for the bit-serial tile.

IEEE 754 binary16 operands; the sum is that of ``hw.baseline.fp32_sum``. What is special about this product:

- It has 22 bits and is in [1, 4), the frame has room for both.
- Products of one subnormal move up by 5 and 3 places, which leaves at most two leading zeros and costs two
  guard bits; the distances come from the operands while they are multiplied. (Products of two subnormals
  need nothing: no accumulator bit lies below them.)
- The carry-save tree takes the earliest bits first; the hidden bits, known late, come last.

Measured without gain at 1 ns: moving subnormal products by 5 only with eight guard bits (the same area), a
shift distance finished before the registers (slower).
"""

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.float_mac import LATENCY, SLOTS, FloatMac
from hw.baseline.frame import Frame
from hw.baseline.multiplier import add_columns, partial_products

__all__ = ["LATENCY", "SLOTS", "Fp16Mac"]

IN_FRACTION, IN_EXPONENT = 10, 5
IN_SIGNIFICAND = IN_FRACTION + 1
PRODUCT = 2 * IN_SIGNIFICAND
BIAS = 2 * (2 ** (IN_EXPONENT - 1) - 1)

MOVES = (5, 3)
"""Places by which products of a subnormal move up, each where the operand has as many leading zeros."""

_ARRIVAL = (*(0.0,) * IN_FRACTION, 1.4)  # of a significand's bits, in full adders


def _leading_zeros_left() -> int:
    """Most leading zeros that a subnormal keeps after MOVES."""
    zeros = range(IN_SIGNIFICAND)
    for places in MOVES:
        zeros = [count - places if count >= places else count for count in zeros]
    return max(zeros)


FRAME = Frame(PRODUCT, MOVES, 1 + _leading_zeros_left())


class Multiply(wiring.Component):
    """Exact product of two FP16 numbers; combinational.

    Members:
        a, b: FP16 bits.
        product: their product.
    """

    frame = FRAME

    a: In(16)
    b: In(16)
    product: Out(FRAME.product_layout)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.product
        significands, exponents, moves, zeros, specials, nans = [], [], [], [], [], []
        for operand in self.a, self.b:
            fraction, exponent = operand[:IN_FRACTION], operand[IN_FRACTION:-1]
            normal = exponent.any()
            significands.append(Cat(fraction, normal))
            exponents.append(Cat(exponent[0] | ~normal, exponent[1:]))
            moves.append(Cat(FRAME.moves_of(significands[-1])))
            zeros.append(~normal & ~fraction.any())
            specials.append(exponent.all())
            nans.append(exponent.all() & fraction.any())

        applied = moves[0] | moves[1]
        m.d.comb += [
            p.significand.eq(add_columns(m, partial_products(m, *significands, (_ARRIVAL, _ARRIVAL)))),
            p.moves.eq(applied),
            p.scale.eq(sum(exponents) + FRAME.moved(-BIAS, applied)),
            p.sign.eq(self.a[-1] ^ self.b[-1]),
            p.zero.eq(zeros[0] | zeros[1]),
            p.special.eq(specials[0] | specials[1]),
            p.nan.eq(nans[0] | nans[1] | (specials[0] & zeros[1]) | (zeros[0] & specials[1])),
        ]
        return m


class Fp16Mac(FloatMac):
    """``FloatMac`` of FP16 and FP16 (``golden.baseline.fp16_mac``).

    Members:
        a, first, acc: as of ``FloatMac``.
        b: FP16 bits.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, Multiply())
