"""Record feed: records of a KV head's pages, read ahead a line at a time."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.core.commands import LINE_BYTES
from golden.core.state import RECORD, RECORD_BYTES
from hw.config import Config
from hw.core.kv_header import blocks
from hw.core.payloads import LINE_BITS, read_request, read_word, words_of_line

__all__ = ["RecordFeed", "page_fields"]

_LINES = 4
"""Of records that wait or are on their way."""
_RECORD_BITS = 8 * RECORD_BYTES
_RECORDS = LINE_BYTES // RECORD_BYTES
"""In a line."""


def page_fields() -> data.FlexibleLayout:
    """A record."""
    return data.FlexibleLayout(
        _RECORD_BITS, {field.name: data.Field(field.width, 32 * field.word + field.low) for field in RECORD}
    )


class RecordFeed(wiring.Component):
    """Give records in order.

    Members:
        start (in): one cycle, while ``idle``; with it the others.
        head (in): line of the header, before that of record 0.
        first, count (in): the records that are wanted, at least one.
        stop (in): no more of them; high until ``idle``.
        requests (out stream), words (in stream): channel of memory; ``last`` closes each line.
        records (out stream): of no meaning after a bad word, with which ``stop`` must come.
        idle (out): nothing is under way.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        count = blocks(config)
        super().__init__(
            {
                "start": In(1),
                "head": In(LINE_BITS),
                "first": In(count),
                "count": In(count),
                "stop": In(1),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "records": Out(stream.Signature(page_fields())),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count, per_line = blocks(self.config), words_of_line(self.config)
        line_place = exact_log2(_RECORDS)
        m.submodules.waiting = fifo = SyncFIFOBuffered(width=self.config.memory_bits, depth=_LINES * per_line)
        line = Signal(LINE_BITS)
        lines = Signal(count)  # to be asked for
        reserved = Signal(range(_LINES + 1))
        unanswered = Signal(range(_LINES + 1))
        begin = Signal(count + 1)
        end = Signal(count + 1)
        record = Signal(count + 1)
        asks = Signal()
        answered = Signal()
        left = Signal()  # a line's last record has gone
        m.d.comb += [
            self.requests.payload.line.eq(line),
            self.requests.payload.words.eq(per_line),
            self.requests.valid.eq((lines != 0) & (reserved != _LINES)),
            asks.eq(self.requests.valid & self.requests.ready),
            self.words.ready.eq(1),  # there is room for what was asked for
            answered.eq(self.words.valid & self.words.payload.last),
            fifo.w_data.eq(self.words.payload.data),
            fifo.w_en.eq(self.words.valid & ~self.stop),
            self.idle.eq((lines == 0) & (unanswered == 0) & (fifo.r_level == 0) & ~self.requests.valid),
        ]
        m.d.sync += [
            reserved.eq(Mux(self.stop, 0, reserved + asks - left)),
            unanswered.eq(unanswered + asks - answered),
        ]
        with m.If(asks):
            m.d.sync += [line.eq(line + 1), lines.eq(lines - 1)]
        with m.If(self.stop & (asks | ~self.requests.valid)):
            m.d.sync += lines.eq(0)
        wanted = Signal(count + 1)
        last_line = Signal(count)
        m.d.comb += [
            wanted.eq(self.first + self.count),
            last_line.eq((wanted + _RECORDS - 1) >> line_place),
        ]
        with m.If(self.start):
            m.d.sync += [
                line.eq(self.head + 1 + (self.first >> line_place)),
                lines.eq(last_line - (self.first >> line_place)),
                begin.eq(self.first),
                end.eq(wanted),
                record.eq(Cat(Const(0, line_place), self.first[line_place:])),
            ]
        self._give(m, fifo, record, (record >= begin) & (record < end), left)
        return m

    def _give(self, m: Module, fifo: SyncFIFOBuffered, record: Signal, wanted: Value, left: Signal) -> None:
        """Records from words; those beside the wanted ones are left out."""
        width = self.config.memory_bits
        there = Signal()
        goes = Signal()
        whole = Signal(max(width, _RECORD_BITS))
        if width < _RECORD_BITS:
            upper = Signal()
            lower = Signal(width)
            m.d.comb += [whole.eq(Cat(lower, fifo.r_data)), there.eq(fifo.r_rdy & upper)]
            m.d.comb += fifo.r_en.eq(self.stop | goes | ~upper)
            with m.If(self.stop | self.start):
                m.d.sync += upper.eq(0)
            with m.Elif(fifo.r_rdy & fifo.r_en):
                m.d.sync += [upper.eq(~upper), lower.eq(fifo.r_data)]
            chosen = whole
        else:
            others = width // _RECORD_BITS - 1  # in a word
            place = Signal(bits_for(others))
            m.d.comb += [whole.eq(fifo.r_data), there.eq(fifo.r_rdy), place.eq(record & others)]
            m.d.comb += fifo.r_en.eq(self.stop | (goes & (place == others)))
            chosen = whole.word_select(place, _RECORD_BITS)
        m.d.comb += [
            Value.cast(self.records.payload).eq(chosen),
            self.records.valid.eq(there & wanted & ~self.stop),
            goes.eq(there & ~self.stop & (~wanted | self.records.ready)),
            left.eq(goes & record[: exact_log2(_RECORDS)].all()),
        ]
        with m.If(goes):
            m.d.sync += record.eq(record + 1)
