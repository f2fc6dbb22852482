"""The accelerator in an Amaranth design, with a counter of its results: ``python examples/instance.py``."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from hw import blocks, verilog
from hw.config import preset


class Counted(wiring.Component):
    """Everything that the accelerator has, and how many beats of results have left.

    Members:
        weights, activations (AXI4-Stream in), results (AXI4-Stream out), control (AXI4-Lite in): of the
            accelerator.
        beats (out): modulo 2^16.
    """

    def __init__(self) -> None:
        self.accelerator = blocks.get("accelerator")(preset("tiny"))
        streams = dict(self.accelerator.signature.members)
        super().__init__({**streams, "beats": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = inner = self.accelerator
        for name in ("weights", "activations", "results", "control"):
            connect(m, flipped(getattr(self, name)), getattr(inner, name))
        with m.If(inner.results.tvalid & inner.results.tready):
            m.d.sync += self.beats.eq(self.beats + 1)
        return m


if __name__ == "__main__":
    print(verilog.convert(Counted(), "counted"), end="")
