"""Multiples of the activations: what all rows of a token column choose from.

A term selects one of ten multiples of an activation (``golden.numbers.datatypes``). Powers of two are wires;
the odd ones are added up here, once for all rows.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.datatypes import PROGRAMMABLE_MAGNITUDES
from hw.config import Config

__all__ = ["Multiples", "multiple_layout"]


def multiple_layout(config: Config) -> data.StructLayout:
    """One activation and the multiples of it that are not mere shifts."""
    bits = config.activation_bits
    return data.StructLayout(
        {
            "one": signed(bits),
            "three": signed(bits + 2),
            "first": signed(bits + 4),
            "second": signed(bits + 4),
        }
    )


class Multiples(wiring.Component):
    """Add up the odd multiples of one chunk of one token column.

    Latency one cycle, one chunk a cycle, no stall.

    Members:
        activations (in): aligned activations, never the most negative integer.
        programming (in): which of each pair of programmable magnitudes is meant.
        multiples (out): the multiples of every lane.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(config.activation_bits), config.lanes)),
                "programming": In(2),
                "multiples": Out(data.ArrayLayout(multiple_layout(config), config.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        assert PROGRAMMABLE_MAGNITUDES == ((5, 10), (7, 16))
        for lane in range(self.config.lanes):
            one = self.activations[lane]
            held = Signal(multiple_layout(self.config), name=f"held_{lane}", reset_less=True)
            five = Signal(signed(len(one) + 3), name=f"five_{lane}")
            m.d.comb += [five.eq((one << 2) + one), self.multiples[lane].eq(held)]
            m.d.sync += [
                held.one.eq(one),
                held.three.eq((one << 1) + one),
                held.first.eq(Mux(self.programming[0], five << 1, five)),
                held.second.eq(Mux(self.programming[1], one << 4, (one << 3) - one)),
            ]
        return m
