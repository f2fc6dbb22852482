"""Distance table: what is known of the tokens of each distance."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.numbers.pipeline import hold
from hw.selection.payloads import MOST_TOKENS
from hw.systems.payloads import SIGNATURE_BITS

__all__ = ["AMOUNT_BITS", "DISTANCES", "DistanceTable"]

DISTANCES = SIGNATURE_BITS + 1
AMOUNT_BITS = bits_for(MOST_TOKENS)


class DistanceTable(wiring.Component):
    """Count tokens by distance, then choose of each distance the tokens that its row says.

    First a row is a count. Then it is a gap: how many tokens of this distance come before the next one that
    is chosen. A row is looked up in one cycle and written in the next one; a token of the same distance right
    behind it takes what is written from a register.

    Members:
        advance (in): a token is taken, and the one before it leaves.
        distance (in): of a token.
        present (in): there is one.
        chooses (in): rows are gaps.
        longest (in): the gap behind a chosen token.
        row (in): which row is looked up while no token is present, or set.
        sets (in): the row becomes ``value``.
        value (in): what it becomes.
        bounds (in): ``row`` is the largest distance of which tokens are chosen, among its first ``quota``.
        quota (in): how many.
        amount (out): the row that was looked up in the cycle before.
        chosen (out): the token of the step before.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "advance": In(1),
                "distance": In(range(DISTANCES)),
                "present": In(1),
                "chooses": In(1),
                "longest": In(AMOUNT_BITS),
                "row": In(range(DISTANCES)),
                "sets": In(1),
                "value": In(AMOUNT_BITS),
                "bounds": In(1),
                "quota": In(AMOUNT_BITS),
                "amount": Out(AMOUNT_BITS),
                "chosen": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=AMOUNT_BITS, depth=DISTANCES, init=[])
        read = rows.read_port()
        write = rows.write_port()
        border = Signal(range(DISTANCES), reset_less=True)
        left = Signal(AMOUNT_BITS, reset_less=True)
        present = hold(m, self.advance, "present", self.present, reset=True)
        distance = hold(m, self.advance, "distance", self.distance)
        again = hold(m, self.advance, "again", present & (self.distance == distance))
        below = hold(m, self.advance, "below", self.distance < border)
        at_border = hold(m, self.advance, "at_border", self.distance == border)
        entry = Signal(AMOUNT_BITS)
        changed = Signal(AMOUNT_BITS)
        next_is = Signal()
        latest = hold(m, self.advance, "latest", changed)
        m.d.comb += [
            read.addr.eq(Mux(self.present, self.distance, self.row)),
            read.en.eq(self.advance),
            self.amount.eq(read.data),
            entry.eq(Mux(again, latest, read.data)),
            next_is.eq(entry == 0),
            changed.eq(Mux(self.chooses, Mux(next_is, self.longest, entry - 1), entry + 1)),
            write.addr.eq(Mux(self.sets, self.row, distance)),
            write.data.eq(Mux(self.sets, self.value, changed)),
            write.en.eq(self.sets | (present & self.advance)),
            self.chosen.eq(present & next_is & (below | (at_border & left.any()))),
        ]
        with m.If(self.bounds):
            m.d.sync += [border.eq(self.row), left.eq(self.quota)]
        with m.Elif(self.chooses & present & self.advance & at_border & left.any()):
            m.d.sync += left.eq(left - 1)
        return m
