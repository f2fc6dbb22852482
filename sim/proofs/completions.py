"""Properties of the completions: records once, in order and at their places, told of when in memory."""

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from golden.core.commands import COMPLETION_BYTES, LINE_BYTES
from hw.config import Config
from hw.core import completions, payloads
from hw.core.completions import Completions
from sim.proofs.accesses import Constant, Stays
from sim.proofs.attention import InOrder

__all__ = ["RecordsInOrder"]

_RECORDS = LINE_BYTES // COMPLETION_BYTES
"""In a line."""
_RING = 2
"""Bits of the ring's size."""


class RecordsInOrder(wiring.Component):
    """Records on their way to memory and to software, in rings of up to three commands.

    A solver chooses the ring, records, stalls and answers. Claimed: every record is written once, in order,
    record k at place k modulo the ring's size; what is offered to the write mover stays until it is taken;
    the head moves on once for every record, in order, a cycle after its write is answered, and the interrupt
    is raised then for those that asked for it, and only for them.

    Records are told apart by a bit of their ids, and by ``interrupt``.

    Args:
        config: with words of at least a record.

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
        unanswered = Signal(range(self._most + 2))
        takes, written, answered = (Signal(name=name) for name in ("takes", "written", "answered"))
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(self.size != 0),
            own.line.eq(self.line),
            own.size.eq(self.size),
            records.valid.eq(self.records_valid),
            records.p.id.eq(self.tag),
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
        self._places(m, own, written)
        self._order(m, "writes", takes, self.tag, written, writes.p.data[0])
        self._told(m, own, takes, answered)
        return m

    @property
    def _most(self) -> int:
        """Records that were taken and not told of: those that wait for memory, and one that is told of."""
        return completions.WAITING + 1

    def _places(self, m: Module, own: Completions, written: Value) -> None:
        """Claim the place of the record that is offered."""
        width = self.config.memory_bits // 8
        write, place = own.writes.p, Signal(_RING)
        line = Signal.like(self.line, name="own_line")
        byte = Signal(exact_log2(LINE_BYTES), name="own_byte")
        enables = Signal(width, name="own_enables")
        m.d.comb += [
            line.eq(self.line + place // _RECORDS),
            byte.eq(place % _RECORDS * COMPLETION_BYTES),
            enables.eq(((1 << COMPLETION_BYTES) - 1) << byte % width),
            Assert(~own.writes.valid | (write.line == line)),
            Assert(~own.writes.valid | (write.word == byte // width)),
            Assert(~own.writes.valid | (write.enables == enables)),
        ]
        with m.If(written):
            m.d.sync += place.eq(Mux(place + 1 == self.size, 0, place + 1))

    def _order(
        self, m: Module, name: str, enters: Value, entering: Value, leaves: Value, leaving: Value
    ) -> None:
        m.submodules[f"order_of_{name}"] = order = InOrder(1, self._most)
        m.d.comb += [
            order.enters.eq(enters),
            order.entering.eq(entering),
            order.leaves.eq(leaves),
            order.leaving.eq(leaving),
            order.pick.eq(self.pick),
        ]

    def _told(self, m: Module, own: Completions, takes: Value, answered: Value) -> None:
        """Claim what software is told."""
        before = Signal(32)
        moves, late = Signal(), Signal()
        m.d.sync += [before.eq(own.head), late.eq(answered)]
        m.d.comb += [
            moves.eq(own.head[0] != before[0]),
            Assert(moves == late),
            Assert(~own.irq | moves),
        ]
        self._order(m, "head", takes, self.interrupt, moves, own.irq)
