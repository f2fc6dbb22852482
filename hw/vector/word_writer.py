"""Where the vector unit's results go in scratch memory, and when."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.vector.payloads import scratch_write
from hw.vector.routines import DATA, STREAMS, TIMER_BITS, Activity
from hw.vector.vector_lane import RESULT
from hw.vector.word_reader import place_bits

__all__ = ["WordWriter"]


class WordWriter(wiring.Component):
    """Write results in order; those of a rotary embedding to a segment's halves in turn.

    Args:
        config: of the accelerator.

    Members:
        activity, timer (in): what the unit does, and for how many cycles.
        restart (in): the next result is the first of a vector.
        destination, elements (in): first word of the results, and how many there are.
        segment, limit (in): words of a segment, and of its part that is walked through.
        results (in): of the lanes.
        segment_ends, ends (out): a cycle before the last word of a segment, and of all, is written.
        port (out): writes.
    """

    def __init__(self, config: Config) -> None:
        bits = place_bits(config)
        port = scratch_write(config)
        super().__init__(
            {
                "activity": In(Activity),
                "timer": In(TIMER_BITS),
                "restart": In(1),
                **{name: In(bits) for name in ("destination", "elements", "segment", "limit")},
                "results": In(port.members["data"].shape),
                "segment_ends": Out(1),
                "ends": Out(1),
                "port": Out(port),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.port
        writes = Signal()
        ahead = DATA + RESULT - 1
        with m.Switch(self.activity):
            for activity, routine in STREAMS.items():
                phases = [
                    phase for phase in range(4) if routine.steps[phase % len(routine.steps)].write is not None
                ]
                if not phases:
                    continue
                cases = [(phase + ahead) % 4 for phase in phases]
                with m.Case(activity), m.Switch(self.timer[:2]), m.Case(*cases):
                    m.d.comb += writes.eq(self.timer >= routine.first + ahead)

        rotary = self.activity == Activity.ROTARY
        half = self.segment >> 1
        second = Signal()
        enable = Signal()
        place = Signal(len(self.limit), reset_less=True)
        following = Signal(len(port.address), reset_less=True)
        last = Signal(len(port.address), reset_less=True)
        address = Signal(len(port.address), reset_less=True)
        closes = Signal()
        m.d.comb += [
            closes.eq((~rotary | second) & (place == self.limit - 1)),
            self.segment_ends.eq(writes & closes),
            self.ends.eq(writes & (following == last)),
            port.address.eq(address),
            port.enables.eq(enable.replicate(len(port.enables))),
            port.data.eq(self.results),
        ]
        m.d.sync += [enable.eq(writes), address.eq(following)]
        with m.If(self.restart):
            m.d.sync += [
                following.eq(self.destination),
                last.eq(self.destination + self.elements - 1),
                place.eq(0),
                second.eq(0),
            ]
        with m.Elif(writes):
            m.d.sync += second.eq(rotary & ~second)
            with m.If(rotary & ~second):
                m.d.sync += following.eq(following + half)
            with m.Else():
                m.d.sync += [
                    following.eq(following + 1 - Mux(rotary & ~closes, half, 0)),
                    place.eq(Mux(closes, 0, place + 1)),
                ]
        return m
