"""Unpack sequencer: which field of a packet comes next and when it can be taken."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.weights.packet import CHANNEL_FIELDS, HEADER_BITS
from hw import payloads
from hw.config import Config
from hw.weights.header_check import counts_layout
from hw.weights.lane_mapper import staged_parts
from hw.weights.packet_plan import plan_layout
from hw.weights.realigner import granule_bits

__all__ = ["UnpackSequencer", "begin_layout", "load_layout", "place_layout", "room_layout"]

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

place_layout = data.StructLayout({"last": 1, "final": 1, "finished": 1, "error": 1})
"""Last chunk of a group, last group of a row block, last row block; the block misses bits."""


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
                "error_header": Out(1),
                "error_short": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, step, load, place = self.plan, self.step, self.load, self.place
        chunk = Signal.like(self.summary.group_chunks)
        group = Signal.like(self.summary.groups)
        block = Signal.like(self.counts.last_block)
        last, final, finished = Signal(), Signal(), Signal()
        short, body = Signal(), Signal()
        selector_bits = Signal.like(plan.selector_bits)  # of the group after this one

        def begin_group(groups: Value) -> None:
            """Set the counters of the next group, with ``groups`` left including itself."""
            chunks = Signal.like(chunk, name="chunks")
            m.d.comb += chunks.eq(Mux(groups == 1, self.summary.last_chunks, self.summary.group_chunks))
            m.d.sync += [group.eq(groups), final.eq(groups == 1), chunk.eq(chunks), last.eq(chunks == 1)]
            m.next = "codes"

        def begin_block(is_last: Value) -> None:
            m.d.sync += finished.eq(is_last)
            begin_group(self.summary.groups)
            with m.If(plan.selector_bits.any()):
                m.next = "selectors"

        def finish_group() -> None:
            """Go on behind a group's scales, and behind the next group's selectors if they came with them."""
            begin_group(group - 1)
            m.d.comb += load.selectors.eq(plan.joined & selector_bits.any())
            with m.If(~plan.joined & selector_bits.any()):
                m.next = "selectors"
            with m.If(final):
                m.next = "channels"

        m.d.comb += [
            selector_bits.eq(Mux(final, 0, plan.selector_bits)),
            place.last.eq(last),
            place.final.eq(final),
            place.finished.eq(finished),
            place.error.eq(short | self.missing),
            self.more.eq(self.granules),
        ]
        m.d.sync += [self.error_header.eq(0), self.error_short.eq(body & self.take & self.missing & ~short)]
        with m.If(body & self.take & self.missing):
            m.d.sync += short.eq(1)

        with m.FSM(name="field"):
            with m.State("header"):
                m.d.comb += self.granules.eq(min(HEADER_BITS, self.config.word_bits) // self.config.rows)
                m.d.comb += [self.take.eq(self.available), load.header.eq(self.take)]
                with m.If(self.take & self._last_step(m, self.header_takes - 1)):
                    m.d.comb += self.start_check.eq(1)
                    m.next = "check"

            with m.State("check"), m.If(self.checked):
                m.d.comb += self.drop.eq(~self.legal)
                m.d.sync += self.error_header.eq(~self.legal)
                with m.If(self.legal):
                    m.next = "offer"
                with m.Else():
                    m.next = "header"

            with m.State("offer"):
                m.d.comb += [self.offer.eq(1), self.drop.eq(self.answer & self.reject)]
                with m.If(self.answer):
                    m.d.sync += [short.eq(0), block.eq(self.counts.last_block)]
                    begin_block(self.counts.last_block == 0)
                    with m.If(self.reject):
                        m.next = "header"

            with m.State("selectors"):
                m.d.comb += [body.eq(1), self.granules.eq(plan.selector_bits)]
                m.d.comb += [self.take.eq(self.available), load.selectors.eq(self.take)]
                with m.If(self.take):
                    m.next = "codes"

            with m.State("codes"):
                complete = step == plan.code_last
                m.d.comb += [
                    body.eq(1),
                    self.begin.codes.eq(1),
                    self.granules.eq(plan.code_granules[complete]),
                ]
                m.d.comb += self.take.eq(self.available & (self.room.chunks | ~complete))
                m.d.comb += [load.part.eq(self.take & ~complete), load.chunk.eq(self.take & complete)]
                with m.If(complete & last & plan.joined & self.room.scales):
                    m.d.comb += self.more.eq(plan.joined_granules[final])
                    m.d.comb += load.scales.eq(self.take & self.whole)
                with m.If(self.take & self._last_step(m, plan.code_last)):
                    m.d.sync += [chunk.eq(chunk - 1), last.eq(chunk == 2)]
                    with m.If(last):
                        m.next = "scales"
                with m.If(load.scales):
                    finish_group()

            with m.State("scales"):
                following = Mux(plan.joined, selector_bits, 0)
                m.d.comb += [
                    body.eq(1),
                    self.begin.scales.eq(1),
                    self.granules.eq(plan.scale_granules[step] + following),
                ]
                m.d.comb += [self.take.eq(self.available & self.room.scales), load.scales.eq(self.take)]
                with m.If(self.take & self._last_step(m, plan.scale_last)):
                    finish_group()

            with m.State("channels"):
                m.d.comb += [body.eq(1), self.granules.eq(sum(bits for _, bits in CHANNEL_FIELDS))]
                m.d.comb += [self.take.eq(self.available & self.room.channels), load.channels.eq(self.take)]
                m.d.comb += self.finish.eq(finished)
                with m.If(self.take):
                    m.d.sync += block.eq(block - 1)
                    begin_block(block == 1)
                    with m.If(finished):
                        m.next = "header"
        return m

    def _last_step(self, m: Module, last: Value | int) -> Value:
        """Count the windows of a field and tell the last one."""
        complete = self.step == last
        with m.If(self.take):
            m.d.sync += self.step.eq(Mux(complete, 0, self.step + 1))
        return complete
