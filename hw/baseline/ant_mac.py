"""FP16 times a weight in ANT's 4-bit codes: ANT as BitMoD's evaluation uses it (HPCA 2025), with FP16 inputs.

The weight's decoder is that of ``hw.baseline.ant_pe``, in front of the multiplier and the FP32 sum of
``hw.baseline.fp16_int8_mac``. The decoder's integer has three bits and a sign and its exponent is added to
the scale, so the multiplier is smaller than one for the decoded value, which reaches 16. The evaluation
charges ANT a multiplier for INT8 instead.
"""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.ant_pe import flint4
from hw.baseline.float_mac import LATENCY, SLOTS, FloatMac
from hw.baseline.fp16_int8_mac import Integer, MultiplyInteger

__all__ = ["LATENCY", "SLOTS", "AntMac"]

WEIGHT = Integer(3, exponent_bits=2)


class Decode(wiring.Component):
    """A 4-bit code to what the multiplier takes; combinational.

    Members:
        b: int4 or flint4.
        flint: which of them.
        weight: its value.
    """

    b: In(4)
    flint: In(1)
    weight: Out(WEIGHT.layout)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign = self.b[-1]
        magnitude, exponent = flint4(self.b)
        m.d.comb += [
            self.weight.ones.eq(Mux(self.flint, magnitude, self.b[:-1] ^ sign.replicate(3))),
            self.weight.increment.eq(sign & ~self.flint),
            self.weight.exponent.eq(Mux(self.flint, exponent, 0)),
            self.weight.sign.eq(sign),
        ]
        return m


class AntMac(FloatMac):
    """``FloatMac`` of FP16 and a 4-bit code (``golden.baseline.ant_mac``).

    Members:
        a, first, acc: as of ``FloatMac``.
        b: code of the weight.
        flint: the code is flint4, not int4.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, MultiplyInteger(WEIGHT), Decode())
