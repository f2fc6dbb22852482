"""Fork: one stream to several takers, each of which takes every payload once, in its own time."""

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fork"]


class Fork(wiring.Component):
    """Offer a payload to all takers at once; it has been taken when the last of them has.

    ``coming.ready`` depends on what the takers say, none of whom hears of the others.

    Members:
        coming (in stream): payloads.
        taker_0 and so on (out streams): each of them again.
    """

    def __init__(self, shape: ShapeLike, count: int) -> None:
        self.takers = [f"taker_{number}" for number in range(count)]
        super().__init__(
            {
                "coming": In(stream.Signature(shape)),
                **dict.fromkeys(self.takers, Out(stream.Signature(shape))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        takers = [getattr(self, name) for name in self.takers]
        told = Signal(len(takers))
        done = Signal(len(takers))
        m.d.comb += [done.eq(told | Cat(taker.ready for taker in takers)), self.coming.ready.eq(done.all())]
        with m.If(self.coming.valid):
            m.d.sync += told.eq(Mux(self.coming.ready, 0, done))
        for number, taker in enumerate(takers):
            m.d.comb += [
                taker.payload.eq(self.coming.payload),
                taker.valid.eq(self.coming.valid & ~told[number]),
            ]
        return m
