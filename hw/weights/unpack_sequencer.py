"""Unpack sequencer: which field of a packet comes next and when it can be taken."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.weights.packet import CHANNEL_FIELDS, HEADER_BITS
from hw import payloads
from hw.config import Config
from hw.weights.header_check import counts_layout
from hw.weights.lane_mapper import staged_parts
from hw.weights.packet_place import PacketPlace, place_layout
from hw.weights.packet_plan import plan_layout
from hw.weights.realigner import granule_bits

__all__ = ["UnpackSequencer", "begin_layout", "load_layout", "room_layout"]

room_layout = data.StructLayout({"chunks": 1, "scales": 1, "channels": 1})
"""Which output registers can be loaded in this cycle."""

load_layout = data.StructLayout(
    {"header": 1, "selectors": 1, "part": 1, "chunk": 1, "scales": 1, "channels": 1}
)
"""Which register takes the window: ``part`` is a chunk's earlier window, ``chunk`` its last one.

Scales can come right after a chunk, and selectors right after scales, in one cycle.
"""

begin_layout = data.StructLayout({"codes": 1, "scales": 1})
"""What the window begins with; neither: header, selectors or channels."""


class UnpackSequencer(wiring.Component):
    """Walk through the structure of a packet, one field or part of a field a cycle.

    Members:
        plan, summary, counts (in): from the header; held from the end of the check to the packet's end.
        checked, legal (in): the check of the header is done, with this result.
        start_check (out): the header is complete from the next cycle on.
        offer (out): ask whether the packet is wanted.
        answer, reject (in): the answer while ``offer``.
        room (in): output registers that can be loaded.
        available, missing, whole (in): from the realigner, about ``granules`` and ``more``.
        granules, more, take, finish, drop (out): to the realigner.
        begin (out): kind of the field that the window begins with.
        step (out): number of the window within a field that needs several.
        load (out): the register that takes the window, in the cycle of ``take``.
        place (out): where in the packet that is.
        error (out): the packet ended before this window or within it.
        error_header, error_short (out): one cycle for each such packet.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.header_takes = max(HEADER_BITS // config.word_bits, 1)
        plan = plan_layout(config)
        steps = max(self.header_takes, staged_parts(config) + 1, plan["scale_granules"].shape.length)
        super().__init__(
            {
                "plan": In(plan),
                "summary": In(payloads.packet_header(config)),
                "counts": In(counts_layout(config)),
                "checked": In(1),
                "legal": In(1),
                "start_check": Out(1),
                "offer": Out(1),
                "answer": In(1),
                "reject": In(1),
                "room": In(room_layout),
                "available": In(1),
                "missing": In(1),
                "whole": In(1),
                "more": Out(granule_bits(config) + 1),
                "granules": Out(granule_bits(config)),
                "take": Out(1),
                "finish": Out(1),
                "drop": Out(1),
                "begin": Out(begin_layout),
                "step": Out(range(steps)),
                "load": Out(load_layout),
                "place": Out(place_layout),
                "error": Out(1),
                "error_header": Out(1),
                "error_short": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.packet_place = counters = PacketPlace(self.config)
        m.d.comb += [
            counters.summary.eq(self.summary),
            counters.counts.eq(self.counts),
            self.place.eq(counters.place),
            self.more.eq(self.granules),
        ]
        following = Signal.like(self.plan.selector_bits)  # of the group after this one
        m.d.comb += following.eq(Mux(self.place.final, 0, self.plan.selector_bits))
        m.d.sync += self.error_header.eq(0)

        with m.FSM(name="field") as field:
            with m.State("header"):
                self._header(m)
            with m.State("check"), m.If(self.checked):
                self._check(m)
            with m.State("offer"):
                self._offer(m, counters)
            with m.State("selectors"):
                self._selectors(m)
            with m.State("codes"):
                self._codes(m, counters, following)
            with m.State("scales"):
                self._scales(m, counters, following)
            with m.State("channels"):
                self._channels(m, counters)
        self._errors(m, self.take & ~field.ongoing("header"))
        return m

    def _errors(self, m: Module, body: Value) -> None:
        """Remember from the first missing bit of a packet's ``body`` on that the packet is too short."""
        short = Signal()
        misses = Signal()
        m.d.comb += [misses.eq(body & self.missing), self.error.eq(short | self.missing)]
        m.d.sync += [short.eq(~self.offer & (short | misses)), self.error_short.eq(misses & ~short)]

    def _header(self, m: Module) -> None:
        m.d.comb += [
            self.granules.eq(min(HEADER_BITS, self.config.word_bits) // self.config.rows),
            self.take.eq(self.available),
            self.load.header.eq(self.take),
        ]
        with m.If(self.take & self._last_step(m, self.header_takes - 1)):
            m.d.comb += self.start_check.eq(1)
            m.next = "check"

    def _check(self, m: Module) -> None:
        m.d.comb += self.drop.eq(~self.legal)
        m.d.sync += self.error_header.eq(~self.legal)
        with m.If(self.legal):
            m.next = "offer"
        with m.Else():
            m.next = "header"

    def _offer(self, m: Module, counters: PacketPlace) -> None:
        m.d.comb += [self.offer.eq(1), self.drop.eq(self.answer & self.reject)]
        with m.If(self.answer):
            m.d.comb += counters.packet.eq(1)
            self._begin_block(m)
            with m.If(self.reject):
                m.next = "header"

    def _begin_block(self, m: Module) -> None:
        m.next = "codes"
        with m.If(self.plan.selector_bits.any()):
            m.next = "selectors"

    def _selectors(self, m: Module) -> None:
        m.d.comb += [
            self.granules.eq(self.plan.selector_bits),
            self.take.eq(self.available),
            self.load.selectors.eq(self.take),
        ]
        with m.If(self.take):
            m.next = "codes"

    def _codes(self, m: Module, counters: PacketPlace, following: Value) -> None:
        """A window of a chunk; with the last one of a group, scales and selectors if they fit."""
        plan, load = self.plan, self.load
        complete = Signal()
        m.d.comb += [
            complete.eq(self.step == plan.code_last),
            self.begin.codes.eq(1),
            self.granules.eq(plan.code_granules[complete]),
            self.take.eq(self.available & (self.room.chunks | ~complete)),
            load.part.eq(self.take & ~complete),
            load.chunk.eq(self.take & complete),
        ]
        with m.If(complete & self.place.last & plan.joined & self.room.scales):
            m.d.comb += self.more.eq(plan.joined_granules[self.place.final])
            m.d.comb += load.scales.eq(self.take & self.whole)
        with m.If(self.take & self._last_step(m, plan.code_last)):
            m.d.comb += counters.chunk.eq(1)
            with m.If(self.place.last):
                m.next = "scales"
        with m.If(load.scales):
            self._finish_group(m, counters, following)

    def _scales(self, m: Module, counters: PacketPlace, following: Value) -> None:
        plan = self.plan
        m.d.comb += [
            self.begin.scales.eq(1),
            self.granules.eq(plan.scale_granules[self.step] + Mux(plan.joined, following, 0)),
            self.take.eq(self.available & self.room.scales),
            self.load.scales.eq(self.take),
        ]
        with m.If(self.take & self._last_step(m, plan.scale_last)):
            self._finish_group(m, counters, following)

    def _finish_group(self, m: Module, counters: PacketPlace, following: Value) -> None:
        """Go on behind a group's scales, and behind the next group's selectors if they came with them."""
        m.d.comb += counters.group.eq(1)
        m.d.comb += self.load.selectors.eq(self.plan.joined & following.any())
        m.next = "codes"
        with m.If(~self.plan.joined & following.any()):
            m.next = "selectors"
        with m.If(self.place.final):
            m.next = "channels"

    def _channels(self, m: Module, counters: PacketPlace) -> None:
        m.d.comb += [
            self.granules.eq(sum(bits for _, bits in CHANNEL_FIELDS)),
            self.take.eq(self.available & self.room.channels),
            self.load.channels.eq(self.take),
            self.finish.eq(self.place.finished),
        ]
        with m.If(self.take):
            m.d.comb += counters.block.eq(1)
            self._begin_block(m)
            with m.If(self.place.finished):
                m.next = "header"

    def _last_step(self, m: Module, last: Value | int) -> Value:
        """Count the windows of a field and tell the last one."""
        complete = self.step == last
        with m.If(self.take):
            m.d.sync += self.step.eq(Mux(complete, 0, self.step + 1))
        return complete
