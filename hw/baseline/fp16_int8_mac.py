"""FP16 times INT8, accumulated in FP32 and correctly rounded: the multiplier for dequantised integer weights.

IEEE 754 binary16 activations and integer weights; the sum is that of ``hw.baseline.fp32_sum``. What is
special about this product, here and in the units with a weight decoder in front:

- A negative weight in two's complement is not negated: its magnitude is its complement plus one, and the one
  is a row of its own in the carry-save tree, in place of the row that the sign bit would need.
- Subnormal activations cost nothing. Their product ends at the last place that an accumulator can have, or
  above it by the weight's exponent, for which the frame has room below the product: leading zeros push no
  accumulator bit out of it.
- Leading zeros of the weight cost guard bits. Products of small weights move up, which saves some; how many
  follows from the widths.

Measured without gain for INT8 at 1 ns: moving the weight instead of the product, moves by 2 or 4 places, by
4 and 2, by 4, 2 and 1, the weight's bits as late ones of the carry-save tree (each 1 to 4 % more area), and
no moves but nine guard bits (misses 1 ns).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.float_mac import LATENCY, SLOTS, FloatMac
from hw.baseline.frame import Frame
from hw.baseline.multiplier import add_columns, partial_products

__all__ = ["LATENCY", "SLOTS", "Fp16Int8Mac", "Integer", "MultiplyInteger"]

FRACTION, EXPONENT = 10, 5
SIGNIFICAND = FRACTION + 1

_ARRIVAL = (*(0.0,) * FRACTION, 1.4)  # of a significand's bits, in full adders


@dataclass(frozen=True)
class Integer:
    """Widths of a weight whose magnitude is ``(ones + increment) << exponent``, and of what follows from it.

    Attributes:
        bits: bits of ``ones``; ``ones + increment`` is at most ``2**bits``.
        exponent_bits: bits of the exponent, 0 for none; the exponent is at most 24 - 11 - ``bits``.
        moves: places by which products of small weights move up.
    """

    bits: int
    exponent_bits: int = 0
    moves: tuple[int, ...] = ()

    @property
    def layout(self) -> data.StructLayout:
        """A weight: ``ones``, ``increment``, ``exponent``, ``sign``."""
        return data.StructLayout(
            {"ones": self.bits, "increment": 1, "exponent": self.exponent_bits, "sign": 1}
        )

    @cached_property
    def frame(self) -> Frame:
        """Widths of the sum."""
        zeros = max(
            self.bits - (ones + increment).bit_length() + 1 - self._places(ones)
            for ones in range(1 << self.bits)
            for increment in (0, 1)
            if ones + increment
        )
        return Frame(SIGNIFICAND + self.bits, self.moves, zeros)

    def _places(self, ones: int) -> int:
        """How far a product moves."""
        total = 0
        for places in self.moves:
            if ones < 1 << self.bits - places:
                ones <<= places
                total += places
        return total


class MultiplyInteger(wiring.Component):
    """Exact product of an FP16 number and an integer; combinational.

    Args:
        integer: widths of the weight.

    Members:
        a: FP16 bits.
        b: weight, as ``Integer.layout``.
        product: their product.
    """

    def __init__(self, integer: Integer) -> None:
        self.integer = integer
        self.frame = integer.frame
        super().__init__({"a": In(16), "b": In(integer.layout), "product": Out(self.frame.product_layout)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, b = self.product, self.b
        fraction, exponent = self.a[:FRACTION], self.a[FRACTION:-1]
        normal = exponent.any()
        significand = Cat(fraction, normal)
        moves = self.frame.moves_of(b.ones)

        columns = partial_products(m, significand, b.ones, (_ARRIVAL, (0.0,) * self.integer.bits))
        for place, bit in enumerate(significand):
            extra = Signal(name=f"increment_{place}")
            m.d.comb += extra.eq(~(bit & b.increment))
            columns[place].append((_ARRIVAL[place], extra))

        # The product's top bit is worth twice the scale.
        base = self.frame.product - 2 - FRACTION - (2 ** (EXPONENT - 1) - 1)
        zero = Signal()
        special = exponent.all()
        m.d.comb += [
            zero.eq(~(b.ones.any() | b.increment)),
            p.significand.eq(add_columns(m, columns)),
            p.moves.eq(Cat(moves)),
            p.scale.eq(Cat(exponent[0] | ~normal, exponent[1:]) + b.exponent + self.frame.moved(base, moves)),
            p.sign.eq(self.a[-1] ^ b.sign),
            p.zero.eq(zero | (~normal & ~fraction.any())),
            p.special.eq(special),
            p.nan.eq(special & (fraction.any() | zero)),
        ]
        return m


INT8 = Integer(7, moves=(3,))


class Decode(wiring.Component):
    """Two's complement to what the multiplier takes; combinational.

    Members:
        b: INT8.
        weight: its value.
    """

    b: In(signed(8))
    weight: Out(INT8.layout)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign = self.b[-1]
        m.d.comb += [
            self.weight.ones.eq(self.b[:-1] ^ sign.replicate(7)),
            self.weight.increment.eq(sign),
            self.weight.sign.eq(sign),
        ]
        return m


class Fp16Int8Mac(FloatMac):
    """``FloatMac`` of FP16 and INT8 (``golden.baseline.fp16_int8_mac``).

    Members:
        a, first, acc: as of ``FloatMac``.
        b: weight, two's complement.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, MultiplyInteger(INT8), Decode())
