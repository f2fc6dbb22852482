"""Packet place: in which row block, group and chunk of a packet is the unpacker?"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw import payloads
from hw.config import Config

__all__ = ["PacketPlace", "place_layout"]

place_layout = data.StructLayout({"last": 1, "final": 1, "finished": 1})
"""Last chunk of a group, last group of a row block, last row block."""


class PacketPlace(wiring.Component):
    """Count down the row blocks of a packet, the groups of a row block and the chunks of a group.

    Members:
        summary (in): what the packet's header says.
        packet, group, chunk (in): a packet begins; a group or a chunk ends in this cycle, and with the last
            group of a row block that too.
        place (out): where the present chunk is; from registers.
        coming (out): where the next group or, with ``packet``, the first one begins.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "summary": In(payloads.packet_header(config)),
                "packet": In(1),
                "group": In(1),
                "chunk": In(1),
                "place": Out(place_layout),
                "coming": Out(place_layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        summary, place = self.summary, self.place
        block = Signal.like(summary.blocks, name="blocks_left")
        group = Signal.like(summary.groups, name="groups_left")
        chunk = Signal.like(summary.group_chunks, name="chunks_left")
        opens = Signal()  # a row block, if a group ends; known before it is known that one does
        coming = self.coming
        m.d.comb += [
            opens.eq(self.packet | place.final),
            coming.final.eq(Mux(opens, summary.groups == 1, group == 2)),
            coming.finished.eq(
                Mux(self.packet, summary.blocks == 1, Mux(place.final, block == 2, place.finished))
            ),
            coming.last.eq(Mux(coming.final, summary.last_chunks == 1, summary.group_chunks == 1)),
        ]
        with m.If(self.packet | (self.group & place.final)):
            m.d.sync += block.eq(Mux(self.packet, summary.blocks, block - 1))
        with m.If(self.packet | self.group):
            m.d.sync += [
                group.eq(Mux(opens, summary.groups, group - 1)),
                chunk.eq(Mux(coming.final, summary.last_chunks, summary.group_chunks)),
                place.eq(coming),
            ]
        with m.Elif(self.chunk):
            m.d.sync += [chunk.eq(chunk - 1), place.last.eq(chunk == 2)]
        return m
