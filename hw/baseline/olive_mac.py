"""FP16 times a weight in OliVe's pairs of 4-bit codes: OliVe as BitMoD's evaluation uses it (HPCA 2025).

The decoder is that of ``hw.baseline.olive_pe`` for one code of a pair, in front of the multiplier and the
FP32 sum of ``hw.baseline.fp16_int8_mac``. The decoder's integer has three bits and a sign and its exponent is
added to the scale, so the multiplier is smaller than one for the decoded value, which reaches 96. The
evaluation charges OliVe a multiplier for INT8 instead.

A pair holds two weights and the unit has one multiplier: the pair stays for two cycles, and ``second`` says
which weight it is the turn of. That is one code a cycle, as much as the other units take.
"""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.float_mac import LATENCY, SLOTS, FloatMac
from hw.baseline.fp16_int8_mac import Integer, MultiplyInteger
from hw.baseline.olive_pe import abfloat, is_victim

__all__ = ["LATENCY", "SLOTS", "OliveMac"]

WEIGHT = Integer(3, exponent_bits=3)


class Decode(wiring.Component):
    """One code of a pair to what the multiplier takes; combinational.

    Members:
        b: pair of codes, the first one in the low bits.
        second: which code.
        weight: its value.
    """

    b: In(8)
    second: In(1)
    weight: Out(WEIGHT.layout)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low, high = self.b[:4], self.b[4:]
        code = Mux(self.second, high, low)
        victim, outlier = (
            Mux(self.second, is_victim(x), is_victim(y)) for x, y in ((high, low), (low, high))
        )
        sign = code[-1]
        magnitude, exponent = abfloat(code)
        normal = (code[:-1] ^ sign.replicate(3)) & (~victim).replicate(3)
        m.d.comb += [
            self.weight.ones.eq(Mux(outlier, magnitude, normal)),
            self.weight.increment.eq(sign & ~outlier & ~victim),
            self.weight.exponent.eq(Mux(outlier, exponent, 0)),
            self.weight.sign.eq(sign),
        ]
        return m


class OliveMac(FloatMac):
    """``FloatMac`` of FP16 and a code of a pair (``golden.baseline.olive_mac``).

    Members:
        a, first, acc: as of ``FloatMac``.
        b: pair of codes, the first one in the low bits.
        second: the weight is the second one of the pair.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, MultiplyInteger(WEIGHT), Decode())
