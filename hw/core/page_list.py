"""Page list: the pages that a token sees, in the order in which the attention engine reads them."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.core.state import format_bits
from golden.kv.codings import CODINGS
from golden.kv.schemes import WINDOW
from hw.attention.payloads import attention_page
from hw.config import Config
from hw.core.kv_header import SLOT_CYCLES, blocks, kv_head, top_of
from hw.core.payloads import LINE_BITS, read_request
from hw.core.record_feed import page_fields
from hw.kv.page_shape import code_words, is_legal, metadata_words
from hw.kv.payloads import SHORTEST_GROUP, Side

__all__ = ["FORMAT_BITS", "PageList", "assign_format", "listed_page", "page_words"]

FORMAT_BITS = 16

_GROUP = (WINDOW.group or SHORTEST_GROUP).bit_length() - SHORTEST_GROUP.bit_length()
_WINDOW = format_bits(CODINGS.index(WINDOW.coding), False, WINDOW.axis == "channel", _GROUP, 0)


def listed_page(config: Config) -> data.StructLayout:
    """A page for the engine, and the words of memory that it is to be read from."""
    return data.StructLayout({"page": attention_page(config), "request": read_request()})


def assign_format(form: data.View, bits: Value, side: Value, channels: Value) -> list[object]:
    """A page's format as circuits have it, of a record's (``golden.core.state.format_bits``)."""
    coding, axis = Value.cast(form.coding), Value.cast(form.axis)
    return [
        coding.eq(bits[:3]),
        form.magnitude.eq(bits[3]),
        axis.eq(bits[4]),
        form.group.eq(bits[5:7]),
        form.gamma.eq(bits[8:16]),
        Value.cast(form.side).eq(side),
        form.channels.eq(channels),
    ]


def page_words(m: Module, form: data.View, config: Config) -> Value:
    """Words of a page of a legal format."""
    return metadata_words(form, config) + code_words(m, form, config)


class PageList(wiring.Component):
    """List the pages of a KV head: those of its records, then blocks of its window, up to the present token.

    Of a page with an illegal format, which the engine refuses, a word is asked for.

    Members:
        start (in): one cycle, while ``idle``; the next ones stay as they are until ``idle``.
        head, closed, newest, place, slot (in), block (out): as of ``KvHeader``.
        last_query (in): number of the last query.
        stop (in): end the list with the present page or the next one, whatever it is; stays until ``idle``.
        records (in stream): of the pages that are closed.
        pages (out stream): keys one page ahead of values.
        bad (out): one cycle for a page whose valid tokens it does not have.
        idle (out): nothing is under way.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        count = blocks(config)
        super().__init__(
            {
                "start": In(1),
                "head": In(kv_head()),
                "closed": In(count),
                "newest": In(count),
                "place": In(range(config.kv.page_tokens)),
                "block": Out(count),
                "slot": In(LINE_BITS),
                "last_query": In(range(config.kv.queries)),
                "stop": In(1),
                "records": In(stream.Signature(page_fields())),
                "pages": Out(stream.Signature(listed_page(config))),
                "bad": Out(1),
                "idle": Out(1),
            }
        )
        pair = {"line": LINE_BITS, "form": FORMAT_BITS}
        tokens = {"first": range(config.kv.page_tokens), "last": range(config.kv.page_tokens)}
        ends = {"opens": 1, "closes": 1}
        self._pair = data.StructLayout(
            {"keys": data.StructLayout(pair), "values": data.StructLayout(pair)} | tokens | ends
        )
        self._one = data.StructLayout({**pair, "side": Side, **tokens, **ends})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        present = Signal(self._pair)
        before = Signal(self._pair)
        chosen = Signal(self._one)
        waits = Signal()  # what is chosen
        room = Signal()
        of_record = Signal()
        settled = Signal(SLOT_CYCLES)
        there = Signal()
        take = Signal()
        m.d.comb += [
            of_record.eq(self.block < self.closed),
            there.eq(Mux(of_record, self.records.valid | self.stop, settled[-1])),
            self.records.ready.eq(take & of_record),
        ]
        m.d.sync += [settled.eq(settled << 1 | 1), self.bad.eq(0)]
        with m.FSM() as machine:
            with m.State("idle"):
                m.d.sync += [self.block.eq(0), settled.eq(0)]
                with m.If(self.start):
                    m.next = "page"
            with m.State("page"):
                m.d.comb += take.eq(there)
                with m.If(take):
                    self._take(m, present, of_record)
                    m.next = "keys"
            with m.State("keys"), m.If(room):
                m.next = "values"
                with m.If(present.opens):
                    m.next = "next"
            with m.State("values"), m.If(room):
                m.next = "next"
            with m.State("next"):
                m.d.sync += [before.eq(present), self.block.eq(self.block + 1), settled.eq(0)]
                m.next = "page"
                with m.If(present.closes):
                    m.next = "last values"
            with m.State("last values"), m.If(room):
                m.next = "idle"
        is_key = machine.ongoing("keys")
        with m.If(room):
            m.d.sync += waits.eq(is_key | machine.ongoing("values") | machine.ongoing("last values"))
            m.d.sync += self._choose(chosen, present, before, is_key)
        self._send(m, chosen, waits, room)
        m.d.comb += self.idle.eq(machine.ongoing("idle") & ~waits & ~self.pages.valid)
        return m

    def _take(self, m: Module, present: data.View, of_record: Value) -> None:
        """The page of the present block."""
        record, head = self.records.payload, self.head
        tokens = self.config.kv.page_tokens
        newest = self.block == self.newest
        m.d.sync += [present.opens.eq(self.block == 0), present.closes.eq(newest | self.stop)]
        with m.If(of_record):
            m.d.sync += [
                present.keys.line.eq(record.keys),
                present.keys.form.eq(record.key_format),
                present.values.line.eq(record.values),
                present.values.form.eq(record.value_format),
                present.first.eq(record.first),
                present.last.eq(record.last),
                self.bad.eq((record.first >= tokens) | (record.last >= tokens)),
            ]
        with m.Else():
            m.d.sync += [
                present.keys.line.eq(self.slot),
                present.keys.form.eq(_WINDOW),
                present.values.line.eq(self.slot + head.coded_values),
                present.values.form.eq(_WINDOW),
                present.first.eq(0),
                present.last.eq(Mux(newest, self.place, tokens - 1)),
            ]

    def _choose(
        self, chosen: data.View, present: data.View, before: data.View, is_key: Value
    ) -> list[object]:
        """One side of a page."""
        shared = ("first", "last", "opens", "closes")
        return [
            Value.cast(chosen.side).eq(~is_key),
            chosen.line.eq(Mux(is_key, present.keys.line, before.values.line)),
            chosen.form.eq(Mux(is_key, present.keys.form, before.values.form)),
            *(chosen[name].eq(Mux(is_key, present[name], before[name])) for name in shared),
        ]

    def _send(self, m: Module, chosen: data.View, waits: Value, room: Signal) -> None:
        """What is chosen, with its words, through the output register."""
        page = Signal(attention_page(self.config))
        words = Signal(read_request()["words"].shape, name="page_words")
        out = self.pages.payload
        legal = is_legal(page.form, self.config)
        side = Value.cast(chosen.side)
        m.d.comb += [
            *assign_format(page.form, chosen.form, side, self.head.channels),
            page.first.eq(chosen.first),
            page.last.eq(chosen.last),
            page.last_query.eq(self.last_query),
            page.top.eq(top_of(self.head, side)),
            page.opens.eq(chosen.opens),
            page.closes.eq(chosen.closes),
            words.eq(Mux(legal, page_words(m, page.form, self.config), 1)),
            room.eq(~self.pages.valid | self.pages.ready),
        ]
        with m.If(room):
            m.d.sync += [
                self.pages.valid.eq(waits),
                out.page.eq(page),
                out.request.line.eq(chosen.line),
                out.request.words.eq(words),
            ]
