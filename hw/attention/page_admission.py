"""Page admission: pages with an impossible format are replaced by ones that harm nobody.

Keys and values of a list stay in step that way, and all of its pages have the same channels.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.payloads import attention_page
from hw.attention.product_shape import is_folded
from hw.attention.selector_memory import selectors_fit
from hw.config import Config
from hw.kv.page_shape import group_length, is_legal
from hw.kv.payloads import SHORTEST_GROUP, Axis, Coding, Side

__all__ = ["LISTS", "PageAdmission", "admitted_page"]

LISTS = 4
"""Lists whose numbers differ, a power of two: keys of one come before the last values of two before it."""


def admitted_page(config: Config) -> data.StructLayout:
    """A page that can be read; ``refused``: it stands in for one that cannot.

    ``number`` tells its list from the others that are under way.
    """
    return data.StructLayout({"page": attention_page(config), "refused": 1, "number": range(LISTS)})


class PageAdmission(wiring.Component):
    """Pass pages on, or what stands in for them: a page in two cycles at most, through a register.

    Refused is a page with an illegal format, with groups that the array cannot reduce or whose selectors
    cannot be kept (``hw.attention.selector_memory``), or with other channels than its list. Those of a list
    are what its first page of keys says; if that is impossible, the most there can be. A stand-in has codes
    of one bit in groups as short as can be, and no valid token: whatever its words are, they are read as if
    they were that.

    With ``kv.table`` refused is also a page of a table before any was loaded.

    With ``kv.split_keys`` the first pages of keys that belong together say it, and refused is also one that
    continues and leaves no channels for those behind it. What stands in for it has as few as can be.

    Members:
        pages (in stream): as of ``Engine``.
        admitted (out stream): a page for each of them.
        loaded (in): there are tables; with ``kv.table``. It does not change while pages come.
        error_format (out): a page was refused.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(attention_page(config))),
                "admitted": Out(stream.Signature(admitted_page(config))),
                **({"loaded": In(1)} if config.page_tables else {}),
                "error_format": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, page, admitted = self.config, self.pages.payload, self.admitted.payload
        form, is_key = page.form, page.form.side == Side.KEY
        taken = Signal()
        refused = Signal()
        number = Signal(range(LISTS))
        too_long = Signal()
        opens: Value = page.opens
        misfit: Value
        if config.kv.split_keys:
            follows = Signal()  # a page of keys that continues
            with m.If(taken & is_key):
                m.d.sync += follows.eq(page.continues)
            opens = page.opens & ~(is_key & follows)
            channels, misfit = self._channels_of_part(m, taken, number)
        else:
            channels = self._channels(m, taken, number)
            misfit = form.channels != channels
        if config.kv.bitmod:
            misfit = misfit | (form.bitmod & ~selectors_fit(form, config))
        if config.page_tables:
            misfit = misfit | (form.table & ~self.loaded)
        m.d.comb += [
            self.pages.ready.eq(~self.admitted.valid),
            taken.eq(self.pages.valid & self.pages.ready),
            too_long.eq(~is_folded(form) & (group_length(form) > config.group)),
            refused.eq(~is_legal(form, config) | too_long | misfit),
        ]

        before = {side: Signal.like(number, name=f"{side.name.lower()}_list") for side in Side}
        m.d.comb += number.eq(Mux(is_key, before[Side.KEY], before[Side.VALUE]) + opens)
        for side, own in before.items():
            with m.If(taken & (form.side == side)):
                m.d.sync += own.eq(number)

        m.d.sync += self.error_format.eq(taken & refused)
        with m.If(self.pages.ready):
            m.d.sync += [
                self.admitted.valid.eq(self.pages.valid),
                admitted.page.eq(page),
                admitted.refused.eq(refused),
                admitted.number.eq(number),
            ]
            with m.If(refused):
                m.d.sync += self._stand_in(admitted.page, channels)
        with m.Elif(self.admitted.ready):
            m.d.sync += self.admitted.valid.eq(0)
        return m

    def _limits(self) -> tuple[int, int]:
        """The fewest and the most channels, in times of 16; keys and values have whole row blocks."""
        unit = max(self.config.rows // SHORTEST_GROUP, 1)
        return unit, self.config.kv.channels // SHORTEST_GROUP // unit * unit

    def _channels(self, m: Module, taken: Value, number: Value) -> Signal:
        """Channels of the list that the present page belongs to, in times of 16."""
        unit, most = self._limits()
        page = self.pages.payload
        coming = page.form.channels
        channels = Signal.like(coming)
        possible = (coming != 0) & (coming <= most) & ((coming & unit - 1) == 0)
        opens = page.opens & (page.form.side == Side.KEY)
        kept = Signal(data.ArrayLayout(len(coming), LISTS), init=[most] * LISTS)
        m.d.comb += channels.eq(Mux(opens, Mux(possible, coming, most), kept[number]))
        with m.If(taken & opens):
            m.d.sync += kept[number].eq(channels)
        return channels

    def _channels_of_part(self, m: Module, taken: Value, number: Value) -> tuple[Signal, Value]:
        """Channels that the present page should have, in times of 16, and whether it does not fit."""
        unit, most = self._limits()
        page, coming = self.pages.payload, self.pages.payload.form.channels
        is_key = page.form.side == Side.KEY
        opens = page.opens & is_key
        kept = Signal(data.ArrayLayout(len(coming), LISTS), init=[most] * LISTS)
        channels = Signal.like(coming)
        start = Signal.like(coming)  # of a page of keys; always before the end of its list's channels
        whole = Signal.like(coming)
        left = Signal.like(coming)
        end = Signal(len(coming) + 1)
        crowded = Signal()
        m.d.comb += [
            whole.eq(Mux(opens, most, kept[number])),
            left.eq(whole - Mux(is_key, start, 0)),
            channels.eq(left),
            end.eq(start + channels),
            crowded.eq(is_key & page.continues & (end >= whole)),
        ]
        possible = (coming != 0) & (coming <= left) & ((coming & unit - 1) == 0)
        with m.If(is_key & page.continues):
            m.d.comb += channels.eq(Mux(possible & (coming != left), coming, unit))
        with m.Elif(opens & possible):
            m.d.comb += channels.eq(coming)
        with m.If(taken & is_key):
            m.d.sync += start.eq(Mux(page.continues, Mux(crowded, start, end), 0))
        with m.If(taken & opens):
            m.d.sync += kept[number].eq(Mux(page.continues, most, end))
        return channels, (coming != channels) | crowded

    def _stand_in(self, page: data.View, channels: Value) -> list[object]:
        form = page.form
        return [
            form.coding.eq(Coding.BITS1),
            form.magnitude.eq(0),
            form.axis.eq(Axis.TOKEN),
            form.group.eq(0),
            form.channels.eq(channels),
            page.first.eq(1),
            page.last.eq(0),
            *([form.bitmod.eq(0)] if self.config.kv.bitmod else []),
            *([form.table.eq(0)] if self.config.page_tables else []),
        ]
