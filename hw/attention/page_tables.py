"""Page tables: the tables of 16 values that codes of keys, and those of values, stand for.

Meaning: ``golden.kv.table``. Both sides have one, as a layer has in KVQuant; they are loaded together, and
only while no page is under way, so that none of them meets a half-loaded table.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.datatypes import LANE_BITS, TABLE_ROWS
from hw import payloads
from hw.attention.payloads import attention_page
from hw.config import Config
from hw.kv.payloads import Side
from hw.pe.term_table import TermTable

__all__ = ["PageTables"]

_MOST_PAGES = 15
"""Pages that are under way, or keys without values, at most; more would wait. The engine takes fewer."""


class PageTables(wiring.Component):
    """Keep the tables; pages pass, but not while tables are loaded.

    Values are taken where every page of keys that has passed was followed by its values, and once all of
    these have been worked on: between lists, but not between those whose keys come before the last values of
    the list before. Where both are offered, values go first, and pages wait until there are 32.

    Members:
        values (in stream): -127..127; 16 for the codes of keys, that of code 0 first, then 16 for those of
            values.
        pages (in stream), passed (out stream): combinational, both ways.
        sent (in): all codes of a page have left.
        side (in): of the codes that the array takes.
        loaded (out): tables have been loaded since the reset; does not change while pages pass.
        terms (out): the table of ``side``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "values": In(stream.Signature(signed(LANE_BITS))),
                "pages": In(stream.Signature(attention_page(config))),
                "passed": Out(stream.Signature(attention_page(config))),
                "sent": In(1),
                "side": In(Side),
                "loaded": Out(1),
                "terms": Out(payloads.term_table),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, page = self.config, self.pages.payload
        m.submodules.tables = tables = TermTable(len(Side))
        under_way = Signal(range(_MOST_PAGES + 1))
        ahead = Signal(range(_MOST_PAGES + 1))  # pages of keys whose values have not passed
        place = Signal(range(len(Side) * TABLE_ROWS))
        passes = Signal()
        loads = Signal()
        stops = Signal()
        taken = Signal()
        # A page counts a cycle after it has passed, since what takes it says so late in its cycle.
        counted = Signal()
        keys_counted = Signal()
        values_counted = Signal()
        parted = Signal()  # the last page of keys that has passed goes on in another
        of_value = page.form.side == Side.VALUE
        whole = ~page.continues if config.kv.split_keys else 1
        m.d.comb += [
            loads.eq(place.any() | (self.values.valid & ~ahead.any() & ~counted & ~parted)),
            stops.eq(loads | (self.values.valid & counted) | (under_way + counted >= _MOST_PAGES)),
            self.passed.payload.eq(page),
            self.passed.valid.eq(self.pages.valid & ~stops),
            self.pages.ready.eq(self.passed.ready & ~stops),
            passes.eq(self.passed.valid & self.passed.ready),
            self.values.ready.eq(loads & ~under_way.any()),
            taken.eq(self.values.valid & self.values.ready),
            tables.values.payload.eq(self.values.payload),
            tables.values.valid.eq(taken),
            self.terms.eq(Mux(self.side == Side.VALUE, *reversed(tables.terms))),
        ]
        m.d.sync += [
            counted.eq(passes),
            keys_counted.eq(passes & ~of_value & whole),
            values_counted.eq(passes & of_value),
            under_way.eq(under_way + counted - self.sent),
            ahead.eq(ahead + keys_counted - values_counted),
        ]
        if config.kv.split_keys:
            with m.If(passes & ~of_value):
                m.d.sync += parted.eq(page.continues)
        with m.If(taken):
            m.d.sync += place.eq(place + 1)
            with m.If(place.all()):
                m.d.sync += self.loaded.eq(1)
        return m
