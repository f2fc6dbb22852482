"""FP16 times a weight, accumulated in FP32: what the units with FP16 activations have in common."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.fp32_sum import LATENCY, SLOTS, accumulate

__all__ = ["LATENCY", "SLOTS", "FloatMac"]


class FloatMac(wiring.Component):
    """``acc += a * b`` in FP32, one a cycle, for SLOTS interleaved accumulators.

    A multiplier, behind a decoder of the weight where there is one, in front of ``hw.baseline.fp32_sum``.
    Every bit of every result is defined by a golden model: operands, subnormal ones too, and products are
    exact, an exact zero is +0, infinity stays, NaN stays and is 0x7fc00000, one rounding to nearest even per
    sum.

    Latency LATENCY = 2 cycles, throughput one multiply-accumulate a cycle; there are no stalls. A cycle
    without work keeps its accumulator when ``a`` and ``b`` are zero and ``first`` is low. There is no reset:
    each accumulator starts with ``first``.

    Args:
        config: unused; the unit has no parameters.
        multiply: combinational, from ``a`` and ``b`` to their exact ``product``, of which its ``frame`` has
            the layout.
        decode: combinational, from ``b`` and what else says which weight is meant to ``weight``, which the
            multiplier takes; none if it takes ``b`` as it is.

    Members:
        a: FP16 bits.
        b: weight, and other inputs of the decoder.
        first: the accumulator of this cycle's slot restarts from +0 before the sum.
        acc: FP32 bits of the sum that the operands of LATENCY cycles ago went into. It leaves the rounding
            logic directly: register it where it is used.
    """

    def __init__(
        self, config: Any, multiply: wiring.Component, decode: wiring.Component | None = None
    ) -> None:
        self.config = config
        self._multiply, self._decode = multiply, decode
        members = (decode or multiply).signature.members
        self._weights = [name for name, member in members.items() if member.flow == In and name != "a"]
        super().__init__(
            {
                "a": In(16),
                **{name: members[name] for name in self._weights},
                "first": In(1),
                "acc": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._decode:
            m.submodules.decode = self._decode
            m.d.comb += self._multiply.b.eq(self._decode.weight)
        m.submodules.multiply = multiply = self._multiply
        taker = self._decode or multiply
        m.d.comb += multiply.a.eq(self.a)
        m.d.comb += [getattr(taker, name).eq(getattr(self, name)) for name in self._weights]
        m.d.comb += self.acc.eq(accumulate(m, multiply.frame, multiply.product, self.first))
        return m
