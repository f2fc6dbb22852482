"""ANT's processing element and its decoder of 4-bit codes (MICRO 2022, the integer variant).

Points fixed here, beside those of ``hw.baseline.decoded_mac`` and ``golden.baseline.ant``:

- Each operand has its own select bit, which is constant while its group lasts.
- The accumulator has 32 bits, as in ``hw.baseline.int8_mac``.
- The one register between decoder and sum has ten bits, less than at any other cut.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.decoded_mac import LATENCY, DecodedMac, decoded, two_bits_signed

__all__ = ["LATENCY", "AntDecoder", "AntPe", "flint4"]

PRODUCT = 10
"""Bits of a product: at most 16 * 16."""


def flint4(code: Value) -> tuple[Value, Value]:
    """Integer, 0..3, and exponent, 0..3, of the magnitude of a flint4 code."""
    low, high, float_like = code[0], code[1], code[2]
    above = float_like & high  # 8 and 16
    return Cat(low & ~above, high | float_like), Cat(float_like & (low | ~high), above)


class AntDecoder(wiring.Component):
    """A 4-bit code to an integer and an exponent; combinational.

    Members:
        code: int4 or flint4.
        flint: which of them.
        decoded: its value.
    """

    code: In(4)
    flint: In(1)
    decoded: Out(decoded(1, 2))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        magnitude, exponent = flint4(self.code)
        m.d.comb += [
            self.decoded[0].integer.eq(Mux(self.flint, two_bits_signed(magnitude, self.code[-1]), self.code)),
            self.decoded[0].exponent.eq(Mux(self.flint, exponent, 0)),
        ]
        return m


class AntPe(DecodedMac):
    """``DecodedMac`` of two 4-bit codes (``golden.baseline.ant_pe``).

    Members:
        a, b: codes.
        a_flint, b_flint: the code is flint4, not int4.
        first, acc: as of ``DecodedMac``.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, AntDecoder, PRODUCT)
