"""Statistics of a page's groups: extremes, or the sum of magnitudes, gathered while the page arrives.

Every lane combines its element with what its group has so far: that is a register where a group is channels
of one token, whose lanes a tree joins at the group's end, and a place in memory where it is tokens of one
channel. Entries (``hw.kv.page_shape.entry_address``) lie in either of two halves, so that a page can arrive
while the one before is read.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.config import Config
from hw.kv.fixed_point import FINITE_BITS, UNITS, window
from hw.kv.formats import Kind, is_divided
from hw.kv.page_shape import beats, entries, entry_address, group_length
from hw.kv.payloads import HALF_BITS, Axis, page_format

__all__ = ["SUM_BITS", "Statistics", "extremes", "latency", "order_key"]

LONGEST_GROUP = 128
SUM_BITS = FINITE_BITS + ceil_log2(LONGEST_GROUP)


def order_key(half: Value) -> Value:
    """Unsigned number in the order of float16 values; -0 counts as +0."""
    zero = ~half[:-1].any()
    negative = half[-1] & ~zero
    return Cat(half[:-1] ^ negative.replicate(HALF_BITS - 1), ~negative)


def _half_of(key: Value) -> Value:
    negative = ~key[-1]
    return Cat(key[:-1] ^ negative.replicate(HALF_BITS - 1), negative)


def extremes(entry: Value) -> tuple[Value, Value]:
    """Minimum and maximum, float16, of an entry."""
    return _half_of(entry[:HALF_BITS]), _half_of(entry[HALF_BITS : 2 * HALF_BITS])


def levels(config: Config) -> int:
    """Stages of the tree that joins the lanes."""
    return ceil_log2(config.kv.lanes)


def latency(config: Config) -> int:
    """Cycles from an element to its group's complete entry."""
    return 3 + levels(config)


class Statistics(wiring.Component):
    """Gather the statistics of one beat a cycle.

    Members:
        form, kind (in): of the page that arrives, held until its last entry is there.
        half (in): half of the memory that its entries go to.
        take (in): a beat is there.
        elements, token, beat (in): its finite elements, and where they lie.
        read_half, read_address (in), entry (out): an entry, one cycle later.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "form": In(page_format(config)),
                "kind": In(Kind),
                "half": In(1),
                "take": In(1),
                "elements": In(data.ArrayLayout(HALF_BITS, config.kv.lanes)),
                "token": In(range(config.kv.page_tokens)),
                "beat": In(range(beats(config))),
                "read_half": In(1),
                "read_address": In(range(entries(config))),
                "entry": Out(SUM_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, lanes = self.config, self.config.kv.lanes
        lane_bits = ceil_log2(lanes)
        row = data.ArrayLayout(SUM_BITS, lanes)
        m.submodules.memory = memory = Memory(shape=row, depth=2 * entries(config) // lanes, init=[])
        so_far = memory.read_port()
        drain = memory.read_port()
        written = memory.write_port(granularity=1)

        # First cycle: elements to keys or magnitudes; the memory looks up what their groups have so far.
        values = Signal(row)
        valid = Signal()
        half = Signal(name="half_now")
        place = Signal.like(self.read_address)
        address = entry_address(self.form, self.token, self.beat << lane_bits, config)
        first, closes = self._borders(m)
        m.d.comb += so_far.addr.eq(Cat(address[lane_bits:], self.half))
        m.d.sync += [valid.eq(self.take), half.eq(self.half), place.eq(address)]
        for lane, element in enumerate(self.elements):
            magnitude = window(m, element[:-1], UNITS, f"magnitude_{lane}")[:FINITE_BITS]
            key = order_key(element)
            m.d.sync += values[lane].eq(Mux(is_divided(self.kind), Cat(key, key), magnitude))

        # Second cycle: combine, lane by lane.
        own = Signal(row)
        combined = Signal(row)
        by_token = self.form.axis == Axis.TOKEN
        for lane in range(lanes):
            before = Mux(by_token, own[lane], so_far.data[lane])
            both = self._combine(values[lane], before)
            m.d.comb += combined[lane].eq(Mux(first, values[lane], both))
        with m.If(valid):
            m.d.sync += own.eq(combined)

        # Later cycles: the tree, for groups that lie across the lanes.
        joined, meant, where, which = self._join(m, own, valid & closes, place, half)
        m.d.comb += written.addr.eq(Cat(place[lane_bits:], half))
        with m.If(by_token):
            m.d.comb += [
                written.addr.eq(Cat(where[lane_bits:], which)),
                written.data.eq(joined.replicate(lanes)),
                written.en.eq(meant << where[:lane_bits] if lane_bits else meant),
            ]
        with m.Else():
            m.d.comb += [written.data.eq(combined), written.en.eq(valid.replicate(lanes))]
        self._drain(m, drain)
        return m

    def _borders(self, m: Module) -> tuple[Signal, Signal]:
        """Whether the beat is its groups' first one, and, in a token, their last one; a cycle later."""
        lanes = self.config.kv.lanes
        within_group = group_length(self.form) - 1
        channel = self.beat << ceil_log2(lanes)
        low_token = (self.token & within_group) == 0
        low_channel = (channel & within_group) == 0
        last_channel = (channel & within_group) == (within_group & ~(lanes - 1))
        by_token = self.form.axis == Axis.TOKEN
        first = Signal()
        closes = Signal()
        m.d.sync += [first.eq(Mux(by_token, low_channel, low_token)), closes.eq(by_token & last_channel)]
        return first, closes

    def _drain(self, m: Module, read: ReadPort) -> None:
        """Look up the entry that is asked for."""
        lane_bits = ceil_log2(self.config.kv.lanes)
        m.d.comb += [
            read.addr.eq(Cat(self.read_address[lane_bits:], self.read_half)),
            self.entry.eq(read.data[0]),
        ]
        if lane_bits:
            selected = Signal(lane_bits)
            m.d.sync += selected.eq(self.read_address[:lane_bits])
            m.d.comb += self.entry.eq(read.data[selected])

    def _combine(self, left: Value, right: Value) -> Value:
        """What two parts of a group have together."""
        low, high = slice(0, HALF_BITS), slice(HALF_BITS, 2 * HALF_BITS)
        least = Mux(left[low] < right[low], left[low], right[low])
        most = Mux(left[high] > right[high], left[high], right[high])
        return Mux(is_divided(self.kind), Cat(least, most), (left + right)[:SUM_BITS])

    def _join(self, m: Module, lanes: data.View, valid: Value, place: Value, half: Value):
        """A tree with a register at each level; the lanes' registers are its leaves."""
        nodes = [lanes[lane] for lane in range(self.config.kv.lanes)]
        moved = Signal(name="leaves_valid")
        where = Signal.like(place, name="leaves_place")
        which = Signal(name="leaves_half")
        m.d.sync += [moved.eq(valid), where.eq(place), which.eq(half)]
        level = 0
        while len(nodes) > 1:
            level += 1
            sums = []
            for number, (left, right) in enumerate(zip(nodes[::2], nodes[1::2], strict=True)):
                held = Signal(SUM_BITS, name=f"joined_{level}_{number}", reset_less=True)
                m.d.sync += held.eq(self._combine(left, right))
                sums.append(held)
            nodes = sums
            later = Signal(name=f"valid_{level}")
            there = Signal.like(where, name=f"place_{level}")
            in_half = Signal(name=f"half_{level}")
            m.d.sync += [later.eq(moved), there.eq(where), in_half.eq(which)]
            moved, where, which = later, there, in_half
        return nodes[0], moved, where, which
