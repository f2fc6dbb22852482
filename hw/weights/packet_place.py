"""Packet place: in which row block, group and chunk of a packet is the unpacker?"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw import payloads
from hw.config import Config
from hw.weights.header_check import counts_layout

__all__ = ["PacketPlace", "place_layout"]

place_layout = data.StructLayout({"last": 1, "final": 1, "finished": 1})
"""Last chunk of a group, last group of a row block, last row block."""


class PacketPlace(wiring.Component):
    """Count down the row blocks of a packet, the groups of a row block and the chunks of a group.

    Members:
        summary, counts (in): what the packet's header says.
        packet, block, group, chunk (in): a packet begins; a row block, a group or a chunk ends in this cycle,
            and with it all that is smaller.
        place (out): where the present chunk is; from registers.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "summary": In(payloads.packet_header(config)),
                "counts": In(counts_layout(config)),
                "packet": In(1),
                "block": In(1),
                "group": In(1),
                "chunk": In(1),
                "place": Out(place_layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        summary, place = self.summary, self.place
        block = Signal.like(self.counts.last_block, name="blocks_left")
        group = Signal.like(summary.groups, name="groups_left")
        chunk = Signal.like(summary.group_chunks, name="chunks_left")
        next_block = Signal.like(block)
        next_group = Signal.like(group)
        next_chunk = Signal.like(chunk)

        whole_block = self.packet | self.block
        m.d.comb += [
            next_block.eq(Mux(self.packet, self.counts.last_block, block - 1)),
            next_group.eq(Mux(whole_block, summary.groups, group - 1)),
            next_chunk.eq(Mux(next_group == 1, summary.last_chunks, summary.group_chunks)),
        ]
        with m.If(whole_block):
            m.d.sync += [block.eq(next_block), place.finished.eq(next_block == 0)]
        with m.If(whole_block | self.group):
            m.d.sync += [group.eq(next_group), place.final.eq(next_group == 1)]
            m.d.sync += [chunk.eq(next_chunk), place.last.eq(next_chunk == 1)]
        with m.Elif(self.chunk):
            m.d.sync += [chunk.eq(chunk - 1), place.last.eq(chunk == 2)]
        return m
