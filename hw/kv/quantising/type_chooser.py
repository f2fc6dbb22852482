"""Type chooser: which special value each group of BitMoD's types takes, while its elements stream by.

Meaning: the search ``table`` of ``golden.kv.bitmod``. Three sums a lane decide among four candidates, and no
candidate is ever made: each sum adds a table's entry for an element's ratio to the largest magnitude.
"""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from golden.kv import bitmod
from hw.config import Config
from hw.kv.formats import BITMOD_NAMES, look_up
from hw.kv.page_shape import entries
from hw.kv.payloads import SELECTOR_BITS, Axis, Coding, page_format
from hw.kv.quantising.statistics import LONGEST_GROUP

__all__ = ["RATIO_BITS", "TypeChooser", "scored_beat", "scored_place"]

RATIO_BITS = bitmod.INDEX_BITS + 1
"""A ratio in units of 1/64, 0 to 1."""

_TABLES = {coding: bitmod.savings(name) for coding, name in BITMOD_NAMES.items()}
_ENTRY_BITS = bits_for(max(abs(entry) for table in _TABLES.values() for part in table for entry in part)) + 1
_SUM_BITS = _ENTRY_BITS + ceil_log2(LONGEST_GROUP)


def scored_place(config: Config) -> data.StructLayout:
    """Where a beat lies: the entry of its first group, whose first or last one it is, or the page's last."""
    return data.StructLayout({"entry": range(entries(config)), "opens": 1, "ends": 1, "last": 1})


def scored_beat(config: Config) -> data.StructLayout:
    """Ratios and signs of a beat's elements, and where they lie."""
    ratios = data.ArrayLayout(RATIO_BITS, config.kv.lanes)
    return data.StructLayout({"ratios": ratios, "negatives": config.kv.lanes, "place": scored_place(config)})


class TypeChooser(wiring.Component):
    """Choose the special values of a page's groups.

    A beat a cycle, those of a group one after the other; a choice is there 4 cycles after the last of them.

    Members:
        form (in): format of the page, held.
        beat, count (in): take this beat.
        keep (out): one cycle, which lanes of the row with ``entry`` have a choice.
        entry (out): as of the beat.
        selectors (out): the choices.
        chosen (out): one cycle, after those of the page's last beat.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = config.kv.lanes
        super().__init__(
            {
                "form": In(page_format(config)),
                "beat": In(scored_beat(config)),
                "count": In(1),
                "keep": Out(lanes),
                "entry": Out(range(entries(config))),
                "selectors": Out(data.ArrayLayout(SELECTOR_BITS, lanes)),
                "chosen": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.config.kv.lanes
        by_token = self.form.axis == Axis.TOKEN
        place = scored_place(self.config)
        scored = Signal(place)  # its entries of tables are there,
        summed = Signal(place)  # are added,
        chosen = Signal(place)  # and the choices of what ends with it made
        adds = Signal()
        m.d.sync += [
            adds.eq(self.count),
            scored.eq(self.beat.place),
            summed.eq(Mux(adds, scored, 0)),
            chosen.eq(summed),
            self.chosen.eq(chosen.last),
        ]
        sums = [self._sums(m, lane, adds, scored.opens) for lane in range(lanes)]
        joined = [sum(parts[1:], start=parts[0]) for parts in zip(*sums, strict=True)]
        for lane, own in enumerate(sums):
            mine = [Mux(by_token, both, part) for both, part in zip(joined, own, strict=True)]
            m.d.comb += self.selectors[lane].eq(self._choose(m, lane, mine if lanes > 1 else own))
        whole = (1 << lanes) - 1
        one = Mux(by_token, 1 << chosen.entry[: ceil_log2(lanes)], whole) if lanes > 1 else whole
        m.d.comb += [self.keep.eq(Mux(chosen.ends, one, 0)), self.entry.eq(chosen.entry)]
        return m

    def _sums(self, m: Module, lane: int, adds: Signal, opens: Signal) -> list[Signal]:
        """Sums of a lane's group so far: of what special values save, and the balance."""
        ratio, negative = self.beat.ratios[lane], self.beat.negatives[lane]
        sums = []
        for part in bitmod.Savings._fields:
            entries_of = [
                look_up(
                    m, f"{name}_{part}_{lane}", ratio, getattr(_TABLES[coding], part), signed(_ENTRY_BITS)
                )
                for coding, name in BITMOD_NAMES.items()
            ]
            entry = Signal(signed(_ENTRY_BITS), name=f"{part}_entry_{lane}", reset_less=True)
            total = Signal(signed(_SUM_BITS), name=f"{part}_sum_{lane}", reset_less=True)
            found = Mux(self.form.coding == Coding.BITS3, *entries_of)
            m.d.sync += entry.eq(found if part == "balance" else Mux(negative, -found, found))
            with m.If(adds):
                m.d.sync += total.eq(Mux(opens, 0, total) + entry)
            sums.append(total)
        return sums

    def _choose(self, m: Module, lane: int, sums: Sequence[Value]) -> Signal:
        """The selector, a cycle later."""
        inner, outer, balance = sums
        width = _SUM_BITS + ceil_log2(self.config.kv.lanes)
        sizes = []
        for name, total in (("inner", inner), ("outer", outer)):
            size = Signal(width, name=f"{name}_size_{lane}")
            m.d.comb += size.eq(Mux(total < 0, -total, total))
            sizes.append(size)
        gain = Signal(signed(width + 2), name=f"gain_{lane}")
        selector = Signal(SELECTOR_BITS, name=f"chosen_selector_{lane}", reset_less=True)
        m.d.comb += gain.eq(balance - sizes[0] + sizes[1])
        m.d.sync += [selector[1].eq(gain > 0), selector[0].eq(Mux(gain > 0, outer < 0, inner < 0))]
        return selector
