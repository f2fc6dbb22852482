"""Lookahead: when the rescaler can promise the array to take its group in time."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.config import Config
from hw.pe.array import CAPTURE_LATENCY

__all__ = ["Lookahead"]


class Lookahead(wiring.Component):
    """Promise, a cycle ahead, that the present group's last turn is within ``CAPTURE_LATENCY`` cycles.

    Only results can stall the rescaler: their consumer, beyond ``room``, or output scales that have not come,
    beyond the ``block`` rows of those that have. So a promise holds if all results under way fit into both.

    Members:
        issue (in): a turn is taken in this cycle.
        left (in): turns of the present group that are left, this one included.
        coming (in): results that the present group has still to issue, this one included.
        issued, left_pipeline, sent (in): a result starts, leaves the rescale pipeline, is taken or dropped.
        block (in): results that the output scales at hand can still serve.
        room (in): results that the consumer takes without a stall.
        promise (out): the present group's last turn will be taken in time; a register.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        count = bits_for(4 * config.slots)
        super().__init__(
            {
                "issue": In(1),
                "left": In(count),
                "coming": In(count),
                "issued": In(1),
                "left_pipeline": In(1),
                "sent": In(1),
                "block": In(count),
                "room": In(count),
                "promise": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        in_pipeline = Signal(8)
        unsent = Signal(8)
        m.d.sync += [
            in_pipeline.eq(in_pipeline + self.issued - self.left_pipeline),
            unsent.eq(unsent + self.issued - self.sent),
        ]
        safe = ((in_pipeline + self.coming) <= self.block) & ((unsent + self.coming) <= self.room)
        idle = (unsent == 0) & (self.coming == 0)
        near = (self.left > 1) & (self.left <= CAPTURE_LATENCY + 1)
        m.d.sync += self.promise.eq(self.issue & near & (safe | idle))
        return m
