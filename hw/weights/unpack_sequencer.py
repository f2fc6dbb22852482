"""Unpack sequencer: when a window can be taken, by which registers, and which one to ask for next."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw import payloads
from hw.config import Config
from hw.weights.field_walk import FieldWalk, load_layout, shown_layout
from hw.weights.header_reader import header_takes
from hw.weights.packet_plan import plan_layout
from hw.weights.realigner import request_layout

__all__ = ["UnpackSequencer", "room_layout"]

room_layout = data.StructLayout({"chunks": 1, "metadata": 1})
"""Which output registers can be loaded in this cycle."""


class UnpackSequencer(wiring.Component):
    """Walk through the structure of a packet, one field or part of a field a cycle.

    The walk is one window ahead: while a window is shown, the next one is asked for. What concerns the window
    that is shown comes from registers.

    Members:
        plan, summary (in): from the header; held from the offer to the packet's last request.
        checked, legal (in): the check of the header is done in this cycle, with this result.
        planned (in): ``plan`` is that of the header which was checked.
        start_check (out): the header is complete from the next cycle on.
        offer (out): ask whether the packet is wanted.
        answer, reject (in): the answer while ``offer``.
        requests (out stream), extended (in): the next window, for the realigner.
        room (in): output registers that can be loaded.
        available, missing, cut (in): from the realigner, about the window that is shown.
        take, drop (out): to the realigner.
        shown (out): what the window holds.
        load (out): the registers that take it, in the cycle of ``take``.
        error (out): the packet ended before this window or within that part of it which is not spare.
        error_header, error_short (out): one cycle for each such packet.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "plan": In(plan_layout(config)),
                "summary": In(payloads.packet_header(config)),
                "checked": In(1),
                "legal": In(1),
                "planned": In(1),
                "start_check": Out(1),
                "offer": Out(1),
                "answer": In(1),
                "reject": In(1),
                "requests": Out(stream.Signature(request_layout(config))),
                "extended": In(1),
                "room": In(room_layout),
                "available": In(1),
                "missing": In(1),
                "cut": In(1),
                "take": Out(1),
                "drop": Out(1),
                "shown": Out(shown_layout(config)),
                "load": Out(load_layout),
                "error": Out(1),
                "error_header": Out(1),
                "error_short": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.field_walk = walk = FieldWalk(self.config)
        connect(m, walk.requests, flipped(self.requests))
        for name in ("plan", "summary", "checked", "legal", "planned", "answer", "reject", "extended"):
            m.d.comb += getattr(walk, name).eq(getattr(self, name))
        for name in ("offer", "drop", "error_header"):
            m.d.comb += getattr(self, name).eq(getattr(walk, name))
        with m.If(self.requests.valid & self.requests.ready):
            m.d.sync += self.shown.eq(walk.shown)

        wants, room = self.shown.load, self.room
        blocked = Signal()
        m.d.comb += [
            blocked.eq(((wants.codes | wants.chunks) & ~room.chunks) | (wants.metadata & ~room.metadata)),
            self.take.eq(self.available & ~blocked),
            self.load.eq(Mux(self.take, wants, 0)),
            self.start_check.eq(self.load.header & (self.shown.step == header_takes(self.config) - 1)),
        ]
        self._errors(m)
        return m

    def _errors(self, m: Module) -> None:
        """Remember from the first missing bit behind the header on that the packet is too short."""
        short = Signal()
        misses = Signal()
        m.d.comb += [
            misses.eq(self.take & self.missing & ~self.shown.load.header),
            self.error.eq(short | (self.cut & ~self.shown.bare)),
        ]
        m.d.sync += [short.eq(~self.offer & (short | misses)), self.error_short.eq(misses & ~short)]
