"""Accumulators: the fixed-point sums of the outputs that one rescale unit serves.

Meaning: ``golden.pe.rescale``. The sums stand in a ring, the current row's at its head; a ring needs no read
multiplexer, and rows come in order.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config

__all__ = ["Accumulators"]


class Accumulators(wiring.Component):
    """Add a contribution to the head of the ring; combinational ``total``, stored at the clock edge.

    Members:
        enable (in): add.
        start (in): the head's old value does not count: the contribution opens an output.
        rotate (in): the contribution is the row's last of this group; move on to the next row.
        contribution (in): what is added.
        total (out): the head's sum with the contribution.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        bits = signed(config.accumulator_bits)
        super().__init__(
            {
                "enable": In(1),
                "start": In(1),
                "rotate": In(1),
                "contribution": In(bits),
                "total": Out(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ring = [
            Signal(signed(self.config.accumulator_bits), name=f"sum_{slot}", reset_less=True)
            for slot in range(self.config.slots)
        ]
        m.d.comb += self.total.eq(Mux(self.start, 0, ring[0]) + self.contribution)
        with m.If(self.enable):
            with m.If(self.rotate):
                m.d.sync += [
                    slot.eq(value) for slot, value in zip(ring, [*ring[1:], self.total], strict=True)
                ]
            with m.Else():
                m.d.sync += ring[0].eq(self.total)
        return m
