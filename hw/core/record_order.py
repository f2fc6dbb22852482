"""Record order: records leave in the order of commands, although a MATVEC may end behind later ones."""

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.core.payloads import record

__all__ = ["WAITING_RECORDS", "RecordOrder"]

WAITING_RECORDS = 8
"""Of commands that are complete before the MATVEC in front of them is."""


class RecordOrder(wiring.Component):
    """Put the record of a MATVEC before those of commands that began behind it.

    A record comes out three cycles after it came in, if none is in front of it.

    Members:
        begins (in): a MATVEC begins, for a cycle in which ``none`` is set.
        product (in stream): its record.
        ended (in stream): records of all other commands.
        records (out stream): in order.
        none (out): every record has left, and that of each MATVEC that began.
    """

    begins: In(1)
    product: In(stream.Signature(record))
    ended: In(stream.Signature(record))
    records: Out(stream.Signature(record))
    none: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        owed = Signal()
        width = Shape.cast(record).width
        m.submodules.waiting = waiting = SyncFIFOBuffered(width=width, depth=WAITING_RECORDS)
        m.d.comb += [
            waiting.w_data.eq(Value.cast(self.ended.payload)),
            waiting.w_en.eq(self.ended.valid),
            self.ended.ready.eq(waiting.w_rdy),
            self.none.eq(~owed & (waiting.r_level == 0)),
        ]
        with m.If(owed):
            m.d.comb += [
                self.records.valid.eq(self.product.valid),
                self.records.payload.eq(self.product.payload),
                self.product.ready.eq(self.records.ready),
            ]
        with m.Else():
            m.d.comb += [
                self.records.valid.eq(waiting.r_rdy),
                self.records.payload.eq(waiting.r_data),
                waiting.r_en.eq(self.records.ready),
            ]
        with m.If(self.begins):
            m.d.sync += owed.eq(1)
        with m.Elif(self.product.valid & self.product.ready):
            m.d.sync += owed.eq(0)
        return m
