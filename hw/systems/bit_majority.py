"""Bit majority: which bits are set in more than half of the signatures."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.config import Config
from hw.numbers.pipeline import hold
from hw.selection.payloads import MOST_TOKENS, score_lanes
from hw.selection.token_marks import count_ones
from hw.systems.payloads import SIGNATURE_BITS

__all__ = ["BitMajority"]


class BitMajority(wiring.Component):
    """Count the bits of words of signatures, 32 / lanes places of all lanes at a time.

    A word takes as many cycles as it has lanes, which is what its signatures take one by one. The counts of
    the places that are looked at together lie in a row of a memory.

    Members:
        signatures (in): of a word.
        counted (in): those that count.
        row (in): which places are looked at, or are asked for.
        takes (in): they are counted.
        opens (in): and are those of the first word.
        members (in): how many signatures were counted.
        places (out): of the row of the cycle before, set in more than half of them.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        self.width = SIGNATURE_BITS // self.lanes
        super().__init__(
            {
                "signatures": In(data.ArrayLayout(SIGNATURE_BITS, self.lanes)),
                "counted": In(self.lanes),
                "row": In(range(self.lanes)),
                "takes": In(1),
                "opens": In(1),
                "members": In(bits_for(MOST_TOKENS)),
                "places": Out(self.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = data.ArrayLayout(bits_for(MOST_TOKENS), self.width)
        m.submodules.counts = stored = memory.Memory(shape=counts, depth=self.lanes, init=[])
        read = stored.read_port()
        write = stored.write_port()
        lanes = []
        for number in range(self.lanes):
            lane = Signal(data.ArrayLayout(self.width, self.lanes), name=f"lane_{number}")
            places = Signal(self.width, name=f"places_{number}")
            m.d.comb += lane.eq(self.signatures[number])
            m.d.comb += places.eq(lane[self.row] & self.counted[number].replicate(self.width))
            lanes.append(places)
        m.d.comb += [
            read.addr.eq(self.row),
            write.addr.eq(hold(m, None, "row", self.row)),
            write.en.eq(hold(m, None, "takes", self.takes, reset=True)),
        ]
        opens = hold(m, None, "opens", self.opens)
        for place in range(self.width):
            ones = hold(m, None, f"ones_{place}", count_ones(Cat(lane[place] for lane in lanes)))
            before = read.data[place] & (~opens).replicate(bits_for(MOST_TOKENS))
            m.d.comb += [
                write.data[place].eq(before + ones),
                self.places[place].eq((read.data[place] << 1) > self.members),
            ]
        return m
