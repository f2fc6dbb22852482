"""Field walk: the fields of a packet in order, as windows to be asked for."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw import payloads
from hw.config import Config
from hw.weights.chunk_loader import code_load_layout
from hw.weights.header_reader import header_part_bits, header_takes
from hw.weights.lane_mapper import most_takes
from hw.weights.packet_place import PacketPlace, place_layout
from hw.weights.packet_plan import metadata_takes, plan_layout
from hw.weights.realigner import request_layout
from hw.weights.window_slice import word_granules

__all__ = ["FieldWalk", "load_layout", "shown_layout"]

load_layout = data.StructLayout(
    {"header": 1, "selectors": 1, **dict.fromkeys(code_load_layout.members, 1), "metadata": 1}
)
"""Which registers take a window: ``selectors`` are a packet's first ones, ``metadata`` can follow a chunk."""


def shown_layout(config: Config) -> data.StructLayout:
    """What a window holds and where in the packet that is.

    ``step`` is the number of the window within a field that needs several; 0 for metadata behind codes.
    ``undivided``: the window has all of a chunk that usually comes in two. ``complete``: it has the end of
    the group's metadata. ``bare``: and nothing of it but selectors.
    """
    steps = max(header_takes(config), most_takes(config), metadata_takes(config))
    return data.StructLayout(
        {
            "load": load_layout,
            "step": range(steps),
            "undivided": 1,
            "complete": 1,
            "bare": 1,
            "place": place_layout,
        }
    )


class FieldWalk(wiring.Component):
    """Ask for the windows of one packet after the other.

    The header's windows are asked for at once. Then the walk waits for the check and for the answer to the
    offer. Only the length of a window (``extended``) decides about the next one, never what is in it, so
    that the walk can be ahead of the words.

    Members:
        plan, summary (in): from the header; held from the offer to the packet's last request.
        checked, legal (in): the check of the header is done in this cycle, with this result.
        planned (in): ``plan`` is that of the header which was checked.
        offer (out): ask whether the packet is wanted.
        answer, reject (in): the answer while ``offer``.
        drop (out): the rest of the packet is not wanted.
        requests (out stream): windows.
        extended (in): with ``extend``, the window will have ``more`` granules.
        shown (out): what the window that is asked for will hold.
        error_header (out): high for one cycle for each illegal header.
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
                "offer": Out(1),
                "answer": In(1),
                "reject": In(1),
                "drop": Out(1),
                "requests": Out(stream.Signature(request_layout(config))),
                "extended": In(1),
                "shown": Out(shown_layout(config)),
                "error_header": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.packet_place = counters = PacketPlace(self.config)
        step = Signal.like(self.shown.step)
        behind = self._behind(m, counters)
        m.d.comb += [
            counters.summary.eq(self.summary),
            self.shown.step.eq(step),
            self.requests.p.spare.eq(Mux(counters.place.finished, 0, self.plan.selector_bits)),
            self.shown.place.eq(counters.place),
        ]
        m.d.sync += self.error_header.eq(0)
        refused = Signal()
        with m.FSM(name="field"):
            with m.State("header"):
                self._header(m, step)
            with m.State("check"), m.If(self.checked):
                self._check(m)
            with m.State("offer"):
                self._offer(m, counters, refused)
            with m.State("answered"):
                self._answered(m, refused)
            with m.State("selectors"):
                self._selectors(m)
            with m.State("codes"):
                self._codes(m, step, counters, behind)
            with m.State("metadata"):
                self._metadata(m, step, counters, behind)
        return m

    def _ask(self, m: Module, granules: Value | int, more: Value | int = 0, extend: Value | int = 0) -> None:
        """Ask for a window."""
        request = self.requests.p
        m.d.comb += [
            self.requests.valid.eq(1),
            request.granules.eq(granules),
            request.more.eq(more),
            request.extend.eq(extend),
        ]

    def _header(self, m: Module, step: Signal) -> None:
        last = step == header_takes(self.config) - 1
        self._ask(m, header_part_bits(self.config) // self.config.rows)
        m.d.comb += self.shown.load.header.eq(1)
        with m.If(self.requests.ready):
            m.d.sync += step.eq(Mux(last, 0, step + 1))
            with m.If(last):
                m.next = "check"

    def _check(self, m: Module) -> None:
        m.d.comb += self.drop.eq(~self.legal)
        m.d.sync += self.error_header.eq(~self.legal)
        m.next = "offer"
        with m.If(~self.legal):
            m.next = "header"

    def _offer(self, m: Module, counters: PacketPlace, refused: Signal) -> None:
        m.d.comb += [self.offer.eq(self.planned), counters.packet.eq(1)]
        m.d.sync += refused.eq(self.reject)
        with m.If(self.offer & self.answer):
            m.next = "answered"

    def _answered(self, m: Module, refused: Value) -> None:
        """Go on a cycle after the answer, which comes late in its own."""
        m.d.comb += self.drop.eq(refused)
        m.next = "codes"
        with m.If(self.plan.selector_bits.any()):
            m.next = "selectors"
        with m.If(refused):
            m.next = "header"

    def _selectors(self, m: Module) -> None:
        self._ask(m, self.plan.selector_bits)
        m.d.comb += self.shown.load.selectors.eq(1)
        with m.If(self.requests.ready):
            m.next = "codes"

    def _codes(self, m: Module, step: Signal, counters: PacketPlace, behind: data.View) -> None:
        """A window of a chunk or all of it; with the last one of a group its metadata if they fit."""
        plan, place, load, word = self.plan, counters.place, self.shown.load, word_granules(self.config)
        last = Signal(name="last_of_chunk")  # window of the chunk
        complete = Signal(name="chunk_complete")  # chunk
        joined = Signal()
        ends_chunk = Mux(place.last, behind.joined_granules, plan.code_granules)
        self._ask(
            m,
            Mux(last, plan.code_granules, word),
            ends_chunk + Mux(last, 0, word),
            Mux(last, place.last & behind.joined, plan.undivided & (~place.last | behind.undivided)),
        )
        m.d.comb += [
            last.eq(step == plan.code_last),
            complete.eq(last | self.extended),
            joined.eq(place.last & self.extended),
            self.requests.p.finish_more.eq(place.last & place.final & place.finished),
            load.staged.eq(~complete & (step == 0)),
            load.codes.eq(~complete & (step != 0)),
            load.chunks.eq(complete),
            load.metadata.eq(joined),
            self.shown.undivided.eq(~last),
            self.shown.complete.eq(joined),
        ]
        with m.If(joined):
            m.d.comb += self.shown.step.eq(0)
        with m.If(self.requests.ready):
            m.d.comb += counters.chunk.eq(complete)
            m.d.sync += step.eq(Mux(complete, 0, step + 1))
            with m.If(complete & place.last):
                m.next = "metadata"
            with m.If(joined):
                self._next_group(m, counters)

    def _metadata(self, m: Module, step: Signal, counters: PacketPlace, behind: data.View) -> None:
        """A window of metadata, or all of it if that is two windows at most."""
        place, word = counters.place, word_granules(self.config)
        last = Signal(name="last_of_metadata")  # window of the metadata
        complete = Signal(name="metadata_complete")
        finish = place.final & place.finished
        self._ask(
            m,
            Mux(last, behind.granules, word),
            behind.granules + word,
            (step == 0) & (behind.last == 1),
        )
        m.d.comb += [
            last.eq(step == behind.last),
            complete.eq(last | self.extended),
            self.requests.p.finish.eq(last & finish),
            self.requests.p.finish_more.eq(finish),
            self.shown.load.metadata.eq(1),
            self.shown.complete.eq(complete),
            self.shown.bare.eq(behind.bare & last),
        ]
        with m.If(self.requests.ready):
            m.d.sync += step.eq(Mux(complete, 0, step + 1))
            with m.If(complete):
                self._next_group(m, counters)

    def _behind(self, m: Module, counters: PacketPlace) -> data.View:
        """What is read behind the codes of the present group, chosen as the group before ends."""
        group, block, packet = self.plan.metadata
        behind = Signal(self.plan.metadata.shape().elem_shape, name="behind", reset_less=True)
        coming = counters.coming
        with m.If(counters.packet | counters.group):
            m.d.sync += behind.eq(Mux(coming.final, Mux(coming.finished, packet, block), group))
        return behind

    def _next_group(self, m: Module, counters: PacketPlace) -> None:
        """Go on behind a group."""
        place = counters.place
        m.d.comb += counters.group.eq(1)
        m.next = "codes"
        with m.If(place.final & place.finished):
            m.next = "header"
