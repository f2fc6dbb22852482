"""OliVe's processing element and its decoder of outlier-victim pairs (ISCA 2023).

Points fixed here, beside those of ``hw.baseline.decoded_mac`` and ``golden.baseline.olive``:

- A pair is decoded whole, since each code needs to know whether its partner marks a victim; so the unit has
  two lanes and two multiplications a cycle.
- The accumulator has 32 bits, as the paper gives it.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.decoded_mac import LATENCY, DecodedMac, decoded, two_bits_signed

__all__ = ["LATENCY", "OliveDecoder", "OlivePe", "abfloat", "is_victim"]

VICTIM = 0b1000

PRODUCT = 15
"""Bits of a product: at most 96 * 96."""


def is_victim(code: Value) -> Value:
    """Whether a code marks a victim."""
    return code == VICTIM


def abfloat(code: Value) -> tuple[Value, Value]:
    """Integer, 0, 2 or 3, and exponent, 2..5, of the magnitude of an outlier's code."""
    # A bias of 2 needs no adder: 00, 01, 10, 11 become 010, 011, 100, 101.
    return Cat(code[0], code[:3].any()), Cat(code[1], ~code[2], code[2])


class OliveDecoder(wiring.Component):
    """A pair of 4-bit codes to two integers and exponents; combinational.

    Members:
        code: the first one in the low bits.
        decoded: their values.
    """

    code: In(8)
    decoded: Out(decoded(2, 3))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        codes = self.code[:4], self.code[4:]
        victims = [is_victim(code) for code in codes]
        for code, value, victim, outlier in zip(codes, self.decoded, victims, victims[::-1], strict=True):
            magnitude, exponent = abfloat(code)
            integer = Mux(outlier, two_bits_signed(magnitude, code[-1]), code)
            m.d.comb += [
                value.integer.eq(integer & (~victim).replicate(4)),
                value.exponent.eq(Mux(outlier, exponent, 0)),
            ]
        return m


class OlivePe(DecodedMac):
    """``DecodedMac`` of two pairs of 4-bit codes, two products a cycle (``golden.baseline.olive_pe``).

    Members:
        a, b: pairs of codes, the first one in the low bits.
        first, acc: as of ``DecodedMac``.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, OliveDecoder, PRODUCT)
