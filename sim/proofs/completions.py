"""Properties of the completions: records once, in order and at their places, told of when in memory."""

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from golden.core.commands import LINE_BYTES
from hw.config import Config
from hw.core import payloads
from hw.core.completions import Completions
from sim.proofs.accesses import Constant, Stays
from sim.proofs.attention import InOrder

__all__ = ["MOST", "RecordsInOrder"]

MOST = 5
"""Records that were taken and not told of, at most: four that wait, one that is told of."""
_RECORD_BITS = 128
_RECORDS = 4
"""In a line."""
_RING = 2
"""Bits of the ring's size."""


class RecordsInOrder(wiring.Component):
    """Records on their way to memory and to software, in rings of up to three commands.

    A solver chooses the ring, records, stalls and answers. Claimed: every record is written once, in order,
    record k at place k modulo the ring's size, as one write or all its parts; what is offered to the write
    mover stays until it is taken; the head moves on once for every record, in order, only after all of its
    writes are answered, and the interrupt is raised then for those that asked for it, and only for them.

    Records are told apart by a bit that each of their writes has, and by ``interrupt``.

    Members:
        line, size (in): of the ring, constant.
        records_valid, tag, interrupt, takes_write, answers, pick (in): any.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        names = ("records_valid", "tag", "interrupt", "takes_write", "answers", "pick")
        ring = {"line": In(payloads.LINE_BITS), "size": In(_RING)}
        super().__init__(ring | {name: In(1) for name in names})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.completions = own = Completions(self.config)
        m.submodules.ring = Constant(self.line, self.size)
        records, writes = own.records, own.writes
        unanswered = Signal(range(2 * _RECORDS + 4))
        takes, written, answered = (Signal(name=name) for name in ("takes", "written", "answered"))
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(self.size != 0),
            own.line.eq(self.line),
            own.size.eq(self.size),
            records.valid.eq(self.records_valid),
            records.p.id.eq(self.tag),
            records.p.bytes.eq(self.tag),
            records.p.interrupt.eq(self.interrupt),
            takes.eq(records.valid & records.ready),
            writes.ready.eq(self.takes_write),
            written.eq(writes.valid & writes.ready),
            answered.eq(self.answers & (unanswered != 0)),
            own.answered.eq(answered),
        ]
        m.d.sync += unanswered.eq(unanswered + written - answered)
        m.submodules.writes_stay = Stays(
            writes.valid, writes.ready, [writes.p.line, writes.p.word, writes.p.data[0], writes.p.enables]
        )
        last = self._places(m, own, written)
        self._order(m, "writes", takes, self.tag, last, writes.p.data[0])
        self._told(m, own, takes, self._parts(m, "answered", answered)[0])
        return m

    def _parts(self, m: Module, name: str, over: Value) -> tuple[Value, Value]:
        """Whether the last part of a record is over now, and which part it is."""
        parts = max(1, _RECORD_BITS // self.config.memory_bits)
        part = Signal(range(max(2, parts)), name=f"{name}_part")
        with m.If(over):
            m.d.sync += part.eq(Mux(part == parts - 1, 0, part + 1))
        return over & (part == parts - 1), part

    def _places(self, m: Module, own: Completions, written: Value) -> Value:
        """Claim places of writes; returns that the last one of a record leaves."""
        width = self.config.memory_bits // 8
        size = min(_RECORD_BITS // 8, width)
        write, place = own.writes.p, Signal(_RING)
        last, part = self._parts(m, "written", written)
        line = Signal.like(self.line, name="own_line")
        byte = Signal(exact_log2(LINE_BYTES), name="own_byte")
        enables = Signal(width, name="own_enables")
        m.d.comb += [
            line.eq(self.line + place // _RECORDS),
            byte.eq(place % _RECORDS * (_RECORD_BITS // 8) + part * size),
            enables.eq(((1 << size) - 1) << byte % width),
            Assert(~own.writes.valid | (write.line == line)),
            Assert(~own.writes.valid | (write.word == byte // width)),
            Assert(~own.writes.valid | (write.enables == enables)),
        ]
        with m.If(last):
            m.d.sync += place.eq(Mux(place + 1 == self.size, 0, place + 1))
        return last

    def _order(
        self, m: Module, name: str, enters: Value, entering: Value, leaves: Value, leaving: Value
    ) -> None:
        m.submodules[f"order_of_{name}"] = order = InOrder(1, MOST)
        m.d.comb += [
            order.enters.eq(enters),
            order.entering.eq(entering),
            order.leaves.eq(leaves),
            order.leaving.eq(leaving),
            order.pick.eq(self.pick),
        ]

    def _told(self, m: Module, own: Completions, takes: Value, over: Value) -> None:
        """Claim what software is told, a cycle after a record's last answer."""
        before = Signal(32)
        moves, late = Signal(), Signal()
        m.d.sync += [before.eq(own.head), late.eq(over)]
        m.d.comb += [
            moves.eq(own.head[0] != before[0]),
            Assert(moves == late),
            Assert(~own.irq | moves),
        ]
        self._order(m, "head", takes, self.interrupt, moves, own.irq)
