"""Token marks: the last pass of a selector, from comparisons to a bitmap."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw.config import Config
from hw.numbers.pipeline import hold
from hw.selection.border_search import WANTED_BITS
from hw.selection.payloads import MOST_TOKENS, score_lanes, selected_tokens

__all__ = ["UNDER_WAY", "TokenMarks", "count_ones"]

UNDER_WAY = 4
"""Words of scores between being taken and leaving as bits: as many as keep the rate of a word a cycle."""


class TokenMarks(wiring.Component):
    """Choose the tokens beyond the border and the first ones at it; count them.

    Members:
        restart (in): forget what was counted.
        takes (in): a word of scores is taken, whose comparisons are here in the next cycle.
        room (out): one can be taken.
        last (in): with the comparisons: they are a request's last ones.
        beyond, equal (in): tokens beyond the border, and at it.
        wanted (in): how many at the border are wanted, less 1, after all before that were used.
        used (out): how many at the border come next, a cycle before ``spends``.
        present, spends (out): comparisons are here; in the next cycle they count as used.
        selected (out stream): bits.
        count (out): bits that are set, of those that have left.
        first (out): place of the first one.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        super().__init__(
            {
                "restart": In(1),
                "takes": In(1),
                "room": Out(1),
                "last": In(1),
                "beyond": In(self.lanes),
                "equal": In(self.lanes),
                "wanted": In(signed(WANTED_BITS)),
                "used": Out(bits_for(self.lanes)),
                "present": Out(1),
                "spends": Out(1),
                "selected": Out(stream.Signature(selected_tokens(config))),
                "count": Out(bits_for(MOST_TOKENS)),
                "first": Out(range(MOST_TOKENS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(selected_tokens(self.config))
        m.submodules.leaving = leaving = SyncFIFO(width=len(bits.as_value()), depth=UNDER_WAY)
        under_way = Signal(range(UNDER_WAY + 1))
        leaves = Signal()
        present = hold(m, None, "taken", self.takes, reset=True)
        spends = hold(m, None, "present", present, reset=True)
        m.d.comb += [
            self.used.eq(count_ones(self.equal)),
            self.present.eq(present),
            self.spends.eq(spends),
            self.room.eq(under_way < UNDER_WAY),
            leaves.eq(self.selected.valid & self.selected.ready),
            leaving.w_data.eq(bits),
            leaving.w_en.eq(spends),
            leaving.r_en.eq(self.selected.ready),
            self.selected.valid.eq(leaving.r_rdy),
            self.selected.payload.eq(leaving.r_data),
            bits.last.eq(hold(m, None, "last", self.last)),
        ]
        m.d.sync += under_way.eq(under_way + self.takes - leaves)
        beyond = hold(m, None, "beyond", self.beyond)
        equal = hold(m, None, "equal", self.equal)
        place_bits = exact_log2(self.lanes)
        many = Signal()
        m.d.comb += many.eq(self.wanted[place_bits:-1].any())
        for number in range(self.lanes):
            before = Signal(range(self.lanes), name=f"before_{number}")
            some = many | (before <= self.wanted[:place_bits]) if number else Const(1)
            m.d.comb += [
                before.eq(count_ones(equal[:number])),
                bits.chosen[number].eq(beyond[number] | (equal[number] & some & ~self.wanted[-1])),
            ]
        self._summarise(m, leaves, place_bits)
        return m

    def _summarise(self, m: Module, leaves: Value, place_bits: int) -> None:
        """How many have left, and where the first one was."""
        chosen = self.selected.payload.chosen
        found = Signal()
        words = Signal(len(self.first) - place_bits)
        place = Signal(place_bits)
        first_place = Signal(place_bits, reset_less=True)
        for number in reversed(range(self.lanes)):
            with m.If(chosen[number]):
                m.d.comb += place.eq(number)
        m.d.comb += self.first.eq(Mux(found, Cat(first_place, words), 0))
        with m.If(leaves):
            m.d.sync += self.count.eq(self.count + count_ones(chosen))
            with m.If(~found):
                m.d.sync += [found.eq(chosen.any()), first_place.eq(place)]
                m.d.sync += words.eq(words + (chosen == 0))
        with m.If(self.restart):
            m.d.sync += [self.count.eq(0), found.eq(0), words.eq(0)]


def count_ones(bits: Value) -> Value:
    """How many bits are set."""
    ones = [bits[number] for number in range(len(bits))]
    while len(ones) > 1:
        pairs = [left + right for left, right in zip(ones[::2], ones[1::2], strict=False)]
        ones = pairs + ones[2 * len(pairs) :]
    return ones[0] if ones else Const(0)
