"""Completions: a record in memory for every command, and the interrupt once it is there."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.core.commands import COMPLETION_BYTES, LINE_BYTES
from hw.config import Config
from hw.core.payloads import LINE_BITS, record, write_request

__all__ = ["WAITING", "Completions"]

_RECORD_BITS = 8 * COMPLETION_BYTES
_RECORDS = LINE_BYTES // COMPLETION_BYTES
"""In a line."""
WAITING = 4
"""Records written that memory has not answered."""


class Completions(wiring.Component):
    """Write the record of the command at place i of the ring to the 16 bytes at ``line`` * 64 + 16 i.

    Records go in order, each as one write, or several of words shorter than 128 bits. ``head`` moves on, and
    the interrupt is raised, when the record's last write is over. Since the write mover's answers come in
    order, the record and everything that the core wrote before it are in memory then. A record outside the
    window is not written, but counts. A record is taken in a cycle, while fewer than four wait for memory.

    Args:
        config: gives ``memory_bits``.

    Members:
        line (in): of record 0, constant from the first record on.
        size (in): commands of the ring, likewise.
        records (in stream): of the commands, in order.
        writes (out stream): a client of the write mover.
        answered (in): its oldest write is over.
        head (out): commands whose records are in memory, modulo 2^32.
        irq (out): a record that asked for it is in memory, for a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "line": In(LINE_BITS),
                "size": In(32),
                "records": In(stream.Signature(record)),
                "writes": Out(stream.Signature(write_request(config))),
                "answered": In(1),
                "head": Out(32),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = max(1, _RECORD_BITS // self.config.memory_bits)
        content = Signal(_RECORD_BITS)
        place = Signal(32)
        part = Signal(range(max(2, parts)))
        left = Signal(range(parts + 1))
        m.submodules.waiting = waiting = SyncFIFO(width=1, depth=WAITING)
        item = self.records.p
        takes = Signal()
        leaves = Signal()
        left_whole = Signal()
        m.d.comb += [
            self.records.ready.eq((left == 0) & waiting.w_rdy),
            takes.eq(self.records.valid & self.records.ready),
            waiting.w_en.eq(takes),
            waiting.w_data.eq(item.interrupt),
            self.writes.valid.eq(left != 0),
            leaves.eq(self.writes.valid & self.writes.ready),
        ]
        with m.If(takes):
            status = Value.cast(item.status)
            zeros = Const(0, 32 - len(status))
            m.d.sync += [
                left.eq(parts),
                part.eq(0),
                content.eq(Cat(item.id, status, zeros, item.bytes, item.cycles)),
            ]
        with m.If(leaves):
            m.d.sync += [left.eq(left - 1), part.eq(part + 1)]
        # The place follows a cycle later, before the next record can leave.
        m.d.sync += left_whole.eq(leaves & (left == 1))
        with m.If(left_whole):
            m.d.sync += place.eq(self._behind(m, place))
        self._write(m, content, place, part if parts > 1 else Const(0, 0))
        self._answered(m, parts, waiting)
        return m

    def _write(self, m: Module, content: Value, place: Signal, part: Value) -> None:
        """A word of the record at ``place``: part of a record, or a record among others."""
        width = self.config.memory_bits
        write = self.writes.p
        within = Signal(range(_RECORDS))
        m.d.comb += [within.eq(place), write.line.eq(self.line + (place >> exact_log2(_RECORDS)))]
        together = width // _RECORD_BITS
        if together <= 1:
            m.d.comb += [
                write.word.eq(Cat(part, within)),
                write.data.eq(content.word_select(part, width)),
                write.enables.eq(~0),
            ]
            return
        inner = within[: exact_log2(together)]
        m.d.comb += [
            write.word.eq(within >> exact_log2(together)),
            write.data.eq(content.replicate(together)),
            write.enables.eq(Cat((inner == lane).replicate(COMPLETION_BYTES) for lane in range(together))),
        ]

    def _answered(self, m: Module, parts: int, waiting: SyncFIFO) -> None:
        """Move the head, and tell software."""
        count = Signal(range(max(2, parts)))
        over = Signal()
        m.d.comb += [over.eq(self.answered & (count == parts - 1)), waiting.r_en.eq(over)]
        m.d.sync += self.irq.eq(over & waiting.r_data)
        with m.If(self.answered):
            m.d.sync += count.eq(Mux(over, 0, count + 1))
        with m.If(over):
            m.d.sync += self.head.eq(self.head + 1)

    def _behind(self, m: Module, place: Value) -> Signal:
        """The next place of the ring."""
        following = Signal(32)
        behind = Signal(32)
        m.d.comb += [following.eq(place + 1), behind.eq(Mux(following == self.size, 0, following))]
        return behind
