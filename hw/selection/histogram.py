"""Histogram of the selector: words of scores in, a bin's numbers out."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.numbers.carry_save import compress
from hw.selection.border_search import SUM_BITS
from hw.selection.histogram_lane import CONTROL, HistogramLane
from hw.selection.payloads import score_lanes, score_words
from hw.sharing import share

__all__ = ["Histogram"]


class Histogram(wiring.Component):
    """A lane for each score of a word, and what their bins add up to.

    Members:
        place, border, known, lowest, by_sum, chooses, scans, bin, clears (in): as of ``HistogramLane``, for
            all lanes.
        scores (in): a word.
        present (in): which of its scores there are.
        equal, beyond (out): as of ``HistogramLane``, a bit for each lane.
        mass (out): of the bin that was looked up in the cycle before, over all lanes.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        super().__init__(
            {
                **CONTROL,
                "scores": In(score_words(config)),
                "present": In(self.lanes),
                "equal": Out(self.lanes),
                "beyond": Out(self.lanes),
                "mass": Out(SUM_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = [share(m, f"lane_{number}", HistogramLane(self.config)) for number in range(self.lanes)]
        for number, lane in enumerate(lanes):
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)) for name in CONTROL]
            m.d.comb += [
                lane.score.eq(self.scores[number]),
                lane.present.eq(self.present[number]),
                self.equal[number].eq(lane.equal),
                self.beyond[number].eq(lane.beyond),
            ]
        left, right = compress(m, [lane.mass for lane in lanes], SUM_BITS)
        m.d.comb += self.mass.eq(left + right)
        return m
