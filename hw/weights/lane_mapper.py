"""Lane mapper: packed codes of one chunk to left-aligned bytes, under every data type's packing.

The wiring comes from ``golden.numbers.datatypes.DataType.lane``, so a new entry of that table needs nothing
here.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.datatypes import LANE_BITS, DataType
from golden.numbers.trits import TRITS
from golden.weights.packet import chunk_granules
from hw.config import Config
from hw.numbers.one_hot import choose
from hw.numbers.trits import TritDecoder
from hw.sharing import share
from hw.weights.realigner import window_bits

__all__ = [
    "LaneMap",
    "LaneMapper",
    "lane_map",
    "lane_maps",
    "lane_take",
    "lane_wires",
    "most_takes",
]

_TRIT_BITS = 2
_BYTE = 8

Wire = tuple[int, ...]
"""Code bits whose OR drives a bit of the lane; ``_ONE`` alone stands for a constant 1."""

_ONE: Wire = (-1,)


@dataclass(frozen=True)
class LaneMap:
    """How a chunk of codes is packed and how a code sits in its byte; shared by types that agree in both.

    Attributes:
        bits: width of a code.
        ternary: five codes a byte instead of dense columns.
        wires: source of each bit of the lane.
        takes: windows that a chunk is read in, all but the last one as long as a word.
        granules: granules of the last one.
        undivided: granules of all of them, where two may be one, else 0.
    """

    bits: int
    ternary: bool
    wires: tuple[Wire, ...]
    takes: int
    granules: int
    undivided: int


class _Packing(NamedTuple):
    """Where the codes of a chunk lie: bits of a code, five a byte or dense, windows of the chunk."""

    bits: int
    ternary: bool
    takes: int


def lane_map(dtype: DataType, config: Config) -> LaneMap:
    """Plan a data type's chunks.

    A chunk of a little more than a word is better read at once, where the words at hand hold it, if the array
    is as fast as that.
    """
    word = config.memory_bits // config.rows
    total = chunk_granules(dtype, config.rows, config.lanes)
    ternary = dtype.name == "ternary"
    before = (total - 1) // word
    bits = _TRIT_BITS if ternary else dtype.bits
    longest = min(window_bits(config) // config.rows, 2 * word - 1)
    at_once = dtype.term_count <= before == 1 and total <= longest
    return LaneMap(
        bits, ternary, lane_wires(dtype), before + 1, total - before * word, total if at_once else 0
    )


@cache
def lane_maps(config: Config) -> tuple[LaneMap, ...]:
    """Every distinct map of the supported types."""
    return tuple(dict.fromkeys(lane_map(dtype, config) for dtype in config.datatypes))


def most_takes(config: Config) -> int:
    """Windows of the longest chunks."""
    return max(entry.takes for entry in lane_maps(config))


@cache
def lane_wires(dtype: DataType) -> tuple[Wire, ...]:
    """Sources of the bits of a lane."""
    return tuple(_wire(dtype, bit) for bit in range(LANE_BITS))


def _wire(dtype: DataType, bit: int) -> Wire:
    """Find the code bits that drive one bit of the lane."""
    codes = range(len(dtype.integers))
    wanted = [dtype.lane(code) >> bit & 1 for code in codes]
    if all(wanted):
        return _ONE
    for count in range(dtype.bits + 1):
        for wire in combinations(range(dtype.bits), count):
            if wanted == [int(any(code >> source & 1 for source in wire)) for code in codes]:
                return wire
    raise ValueError(f"bit {bit} of the lanes of {dtype.name} is not an OR of code bits")


def lane_take(entry: LaneMap, config: Config, row: int, lane: int, bit: int) -> int:
    """Number of the window that a bit of a lane comes from; 0 for a constant."""
    code = lane * config.rows + row
    if entry.ternary:
        return code // TRITS * _BYTE // config.memory_bits
    takes = {(code * entry.bits + source) // config.memory_bits for source in entry.wires[bit] if source >= 0}
    if len(takes) > 1:
        raise ValueError(f"bit {bit} of the lanes of {entry.bits}-bit codes comes from several windows")
    return max(takes, default=0)


class LaneMapper(wiring.Component):
    """Choose among the lane maps; combinational.

    Members:
        staged (in): the first window of a chunk of several.
        window (in): the present window.
        undivided (in): the window is the only one although chunks of this type may have two.
        select (in): one-hot, which of ``lane_maps(config)``.
        codes (out): rows x lanes bytes, those bits that the windows at hand have.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.maps = lane_maps(config)
        super().__init__(
            {
                "staged": In(config.memory_bits),
                "window": In(window_bits(config)),
                "undivided": In(1),
                "select": In(len(self.maps)),
                "codes": Out(data.ArrayLayout(data.ArrayLayout(LANE_BITS, config.lanes), config.rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        readings = self._readings(m)
        packings = dict.fromkeys(packing for _, packing, _ in readings)
        codes = {packing: self._codes(m, packing) for packing in packings}
        lines: dict[tuple[int, ...], Signal] = {}
        for bit in range(LANE_BITS):
            sources: dict[tuple[_Packing, Wire], list[int]] = {}
            for number, (_, packing, wires) in enumerate(readings):
                sources.setdefault((packing, wires[bit]), []).append(number)
            sources = {source: numbers for source, numbers in sources.items() if source[1]}
            for numbers in map(tuple, sources.values()):
                if numbers not in lines:
                    lines[numbers] = line = Signal(name="line_" + "_".join(map(str, numbers)))
                    m.d.comb += line.eq(Cat(readings[number][0] for number in numbers).any())
            chosen = [lines[tuple(numbers)] for numbers in sources.values()]
            for row, lane in product(range(self.config.rows), range(self.config.lanes)):
                candidates = [_driven(codes[packing][row][lane], wire) for packing, wire in sources]
                m.d.comb += self.codes[row][lane][bit].eq(choose(chosen, candidates) if chosen else 0)
        return m

    def _readings(self, m: Module) -> list[tuple[Value, _Packing, tuple[Wire, ...]]]:
        """Every way to read a chunk: the line that chooses it, the codes' place and the lanes' sources."""
        readings: list[tuple[Value, _Packing, tuple[Wire, ...]]] = []
        for line, entry in zip(self.select, self.maps, strict=True):
            at_once = self.undivided if entry.undivided else Const(0)
            if entry.undivided:
                readings.append((line & at_once, _Packing(entry.bits, entry.ternary, 1), entry.wires))
            readings.append((line & ~at_once, _Packing(entry.bits, entry.ternary, entry.takes), entry.wires))
        return readings

    def _codes(self, m: Module, packing: _Packing) -> list[list[Value]]:
        """Codes [row][lane] of a chunk."""
        rows, lanes = self.config.rows, self.config.lanes
        chunk = self.window
        if packing.takes > 1:
            chunk = Cat(self.staged, *[self.window[: len(self.staged)]] * (packing.takes - 1))
        if packing.ternary:
            codes = self._trits(m, chunk, packing.takes)
        else:
            codes = [chunk.word_select(number, packing.bits) for number in range(lanes * rows)]
        return [[codes[lane * rows + row] for lane in range(lanes)] for row in range(rows)]

    def _trits(self, m: Module, chunk: Value, takes: int) -> list[Value]:
        """Codes of a ternary chunk."""
        digits: list[Value] = []
        for number in range(-(-self.config.rows * self.config.lanes // TRITS)):
            decoder = share(m, f"trits_{takes}_{number}", TritDecoder())
            m.d.comb += decoder.octet.eq(chunk.word_select(number, _BYTE))
            digits += list(decoder.trits)
        return digits


def _driven(code: Value, wire: Wire) -> Value:
    """The bit of a lane that a wire makes of a code."""
    sources = [Const(1, 1) if source < 0 else code[source] for source in wire] or [Const(0, 1)]
    return Cat(sources).any() if len(sources) > 1 else sources[0]
