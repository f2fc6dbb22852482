"""A lane of the selector: the histogram of the scores that it sees, in a memory of its own."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.config import Config
from hw.numbers.pipeline import hold
from hw.selection.payloads import MOST_TOKENS, SCORE_BITS, score_lanes

__all__ = ["BIN_BITS", "PLACES", "HistogramLane", "mass_bits"]

BIN_BITS = 8
"""Bits of a score that a pass looks at."""
PLACES = SCORE_BITS // BIN_BITS


def mass_bits(config: Config) -> int:
    """Width of a lane's sums: none can overflow."""
    return bits_for(MOST_TOKENS // score_lanes(config) * ((1 << SCORE_BITS) - 1))


CONTROL = {
    "place": In(range(PLACES)),
    "border": In(SCORE_BITS),
    "known": In(PLACES),
    "lowest": In(1),
    "by_sum": In(1),
    "chooses": In(1),
    "scans": In(1),
    "bin": In(BIN_BITS),
    "clears": In(1),
}
"""Members that all lanes of a histogram have the same values of."""


class HistogramLane(wiring.Component):
    """Count or add the scores of each digit, and say in the last pass what lies beyond the border.

    A score's bin is looked up in one cycle and written in the next one; a score of the same bin right behind
    it takes what is written from a register. In the last pass the adder compares.

    Members:
        score (in): a score.
        present (in): it is one.
        place (in): which digit decides its bin; 0 is the last one.
        border (in): score of the border, of which the digits ``known`` count.
        lowest (in): small scores come first: bin 0 is that of digit 255.
        by_sum (in): scores are added, not counted.
        chooses (in): neither: ``beyond`` is wanted.
        scans, bin (in): a bin is looked up instead of a score's.
        clears (in): and is set to zero.
        equal (out): the score of the cycle before has the digits of the border.
        beyond (out): it has others, and comes first.
        mass (out): what is in the bin that was looked up in the cycle before.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "score": In(SCORE_BITS),
                "present": In(1),
                **CONTROL,
                "equal": Out(1),
                "beyond": Out(1),
                "mass": Out(mass_bits(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.mass)
        m.submodules.histogram = histogram = memory.Memory(shape=width, depth=1 << BIN_BITS, init=[])
        read = histogram.read_port()
        write = histogram.write_port()
        digits = data.ArrayLayout(BIN_BITS, PLACES)
        score, border = data.View(digits, self.score), data.View(digits, self.border)
        matches = Signal(PLACES)
        found = Signal()
        digit = Signal(BIN_BITS)
        address = Signal(BIN_BITS)
        weight = Signal(SCORE_BITS)
        m.d.comb += [matches[n].eq(~self.known[n] | (score[n] == border[n])) for n in range(PLACES)]
        m.d.comb += [
            found.eq(self.present & matches.all()),
            digit.eq(score[self.place]),
            address.eq(Mux(self.scans, self.bin, digit ^ self.lowest.replicate(BIN_BITS))),
            weight.eq(Mux(self.by_sum | self.chooses, self.score, 1) & (~self.scans).replicate(SCORE_BITS)),
            read.addr.eq(address),
        ]

        taken = hold(m, None, "weight", weight)
        present = hold(m, None, "present", self.present)
        equal = hold(m, None, "equal", found, reset=True)
        clears = hold(m, None, "clears", self.scans & self.clears, reset=True)
        held_address = hold(m, None, "address", address)
        again = hold(m, None, "again", self.chooses | self.scans | (equal & (address == held_address)))
        latest = Signal(width, reset_less=True)
        total = Signal(width)
        # What a score is added to comes from the memory, or else from ``latest``: what is written at present;
        # 0 in a scan, so that 0 is written; the border's complement, so that a carry tells of a larger score.
        m.d.comb += [
            total.eq(Mux(again, latest, read.data) + taken),
            write.addr.eq(held_address),
            write.data.eq(total),
            write.en.eq((equal & ~self.chooses) | clears),
            self.equal.eq(equal),
            self.beyond.eq(present & ~equal & (total[SCORE_BITS] ^ self.lowest)),
            self.mass.eq(read.data),
        ]
        m.d.sync += latest.eq(Mux(self.chooses, ~self.border, Mux(self.scans, 0, total)))
        return m
