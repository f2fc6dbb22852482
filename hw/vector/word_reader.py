"""Which words of scratch memory the vector unit reads, and when."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.vector.payloads import scratch_read
from hw.vector.routines import PLACES, STREAMS, TIMER_BITS, Activity, Operand

__all__ = ["WordReader", "place_bits"]


def place_bits(config: Config) -> int:
    """Width of a number of words of scratch memory in a command."""
    return 16 - exact_log2(config.core.lanes)


class WordReader(wiring.Component):
    """Walk through a vector as the activity's steps want it.

    Args:
        config: of the accelerator.

    Members:
        activity, timer (in): what the unit does, and for how many cycles.
        begins (in): a walk through a segment begins with word ``first``.
        restart (in): segments are counted from the first one again.
        advance (in): the next one counts; those of a rotary embedding follow by themselves.
        source, operand (in): first words of the operands.
        elements, segment, limit (in): words of the vector, of a segment, and of its part that is walked
            through.
        segment_begin (out): words before the segment.
        ends (out): the walk's last step.
        port (out): reads, two cycles after the step.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        bits = place_bits(config)
        inputs = {name: In(bits) for name in ("first", "source", "operand", "elements", "segment", "limit")}
        super().__init__(
            {
                "activity": In(Activity),
                "timer": In(TIMER_BITS),
                "begins": In(1),
                "restart": In(1),
                "advance": In(1),
                **inputs,
                "segment_begin": Out(bits),
                "ends": Out(1),
                "port": Out(scratch_read(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        reads = Signal()
        of_operand = Signal()
        second = Signal()
        rests = Signal()  # not a round's last step
        lag = Signal(range(1 + max(step.lag for each in STREAMS.values() for step in each.steps)))
        m.d.comb += rests.eq(1)
        with m.Switch(self.activity):
            for activity, routine in STREAMS.items():
                with m.Case(activity), m.Switch(self.timer[:2]):
                    for phase in range(4):
                        step = routine.steps[phase % len(routine.steps)]
                        with m.Case(phase):
                            m.d.comb += [
                                reads.eq(step.read is not None),
                                of_operand.eq(step.read == Operand.OPERAND),
                                second.eq(step.second),
                                lag.eq(step.lag),
                                rests.eq((phase + 1) % len(routine.steps) != 0),
                            ]
        bits = len(self.source)
        rotary = self.activity == Activity.ROTARY
        position = Signal(bits, reset_less=True)
        begin = Signal(bits, name="held_segment_begin", reset_less=True)
        following = Signal(bits + 1)
        stride = PLACES // self.config.core.lanes
        m.d.comb += [
            following.eq(position + Mux(self.activity == Activity.SQUARES, stride, 1)),
            self.ends.eq(~rests & (following >= self.limit)),
            self.segment_begin.eq(begin),
        ]
        with m.If(self.begins):
            m.d.sync += position.eq(self.first)
        with m.Elif(~rests):
            m.d.sync += position.eq(Mux(rotary & self.ends, 0, following))
        with m.If(self.restart):
            m.d.sync += begin.eq(0)
        with m.Elif(self.advance | (rotary & self.ends)):
            m.d.sync += begin.eq(begin + self.segment)

        place = Signal(signed(bits + 1))
        asked = Signal()
        enable = Signal()
        width = len(self.port.address)
        origin = Signal(width, reset_less=True)
        within = Signal(width, reset_less=True)
        address = Signal(width, reset_less=True)
        m.d.comb += place.eq(position - lag)
        m.d.sync += [
            asked.eq(reads & (place >= 0) & (place < self.limit) & (begin != self.elements)),
            origin.eq(Mux(of_operand, self.operand, self.source + begin)),
            within.eq(place + Mux(second, self.segment >> 1, 0)),
            enable.eq(asked),
            address.eq(origin + within),
        ]
        m.d.comb += [self.port.address.eq(address), self.port.enable.eq(enable)]
        return m
