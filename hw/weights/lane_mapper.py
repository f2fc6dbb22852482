"""Lane mapper: packed codes of one chunk to left-aligned bytes, under every data type's packing.

The wiring comes from ``golden.numbers.datatypes.DataType.lane``, so a new entry of that table needs nothing
here.
"""

from dataclasses import dataclass
from itertools import combinations, product

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.datatypes import LANE_BITS, DataType
from golden.numbers.trits import TRITS
from golden.weights.packet import chunk_granules
from hw.config import Config
from hw.numbers.trits import TritDecoder
from hw.sharing import share

__all__ = ["LaneMap", "LaneMapper", "lane_map", "lane_maps", "lane_of", "lane_wires", "staged_parts"]

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
        takes: windows that a chunk is read in.
        granules: granules of every window but the last, and of the last one.
        columns: columns of dense codes in every window but the last.
    """

    bits: int
    ternary: bool
    wires: tuple[Wire, ...]
    takes: int
    granules: tuple[int, int]
    columns: int


def lane_map(dtype: DataType, config: Config) -> LaneMap:
    """Plan a data type's chunks: whole columns a window, spread evenly; whole windows for ternary."""
    window = config.word_bits // config.rows
    wires = lane_wires(dtype)
    if dtype.name == "ternary":
        total = chunk_granules(dtype, config.rows, config.lanes)
        takes = -(-total // window)
        return LaneMap(_TRIT_BITS, True, wires, takes, (window, total - (takes - 1) * window), 0)
    takes = -(-config.lanes // (window // dtype.bits))
    columns = -(-config.lanes // takes)
    last = config.lanes - (takes - 1) * columns
    return LaneMap(dtype.bits, False, wires, takes, (columns * dtype.bits, last * dtype.bits), columns)


def lane_maps(config: Config) -> tuple[LaneMap, ...]:
    """Every distinct map of the supported types."""
    return tuple(dict.fromkeys(lane_map(dtype, config) for dtype in config.datatypes))


def staged_parts(config: Config) -> int:
    """Windows that have to wait for a chunk's last one."""
    return max(entry.takes for entry in lane_maps(config)) - 1


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


class LaneMapper(wiring.Component):
    """Choose among the lane maps; combinational.

    Members:
        staged (in): the chunk's earlier windows, first one lowest.
        window (in): its last (or only) window.
        select (in): one-hot, which of ``lane_maps(config)``.
        codes (out): rows x lanes bytes.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.maps = lane_maps(config)
        super().__init__(
            {
                "staged": In(config.word_bits * staged_parts(config)),
                "window": In(config.word_bits),
                "select": In(len(self.maps)),
                "codes": Out(data.ArrayLayout(data.ArrayLayout(LANE_BITS, config.lanes), config.rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        codes = [self._trits(m, entry) if entry.ternary else self._dense(entry) for entry in self.maps]
        for row, lane in product(range(self.config.rows), range(self.config.lanes)):
            chosen = Const(0, LANE_BITS)
            for number, entry in enumerate(self.maps):
                chosen = chosen | Mux(self.select[number], lane_of(codes[number][row][lane], entry.wires), 0)
            m.d.comb += self.codes[row][lane].eq(chosen)
        return m

    def _part(self, entry: LaneMap, take: int) -> Value:
        """The window of a chunk's take."""
        width = self.config.word_bits
        return self.window if take == entry.takes - 1 else self.staged[take * width : (take + 1) * width]

    def _dense(self, entry: LaneMap) -> list[list[Value]]:
        """Codes [row][lane] of a chunk of columns."""
        rows, lanes = self.config.rows, self.config.lanes

        def code(row: int, lane: int) -> Value:
            take, column = divmod(lane, entry.columns)
            return self._part(entry, take).word_select(column * rows + row, entry.bits)

        return [[code(row, lane) for lane in range(lanes)] for row in range(rows)]

    def _trits(self, m: Module, entry: LaneMap) -> list[list[Value]]:
        """Codes [row][lane] of a ternary chunk."""
        rows, lanes = self.config.rows, self.config.lanes
        digits: list[Value] = []
        for number in range(-(-rows * lanes // TRITS)):
            take, position = divmod(number, self.config.word_bits // _BYTE)
            byte = self._part(entry, take).word_select(position, _BYTE)
            decoder = share(m, f"trits_{number}", TritDecoder())
            m.d.comb += decoder.octet.eq(byte)
            digits += list(decoder.trits)
        return [[digits[lane * rows + row] for lane in range(lanes)] for row in range(rows)]


def lane_of(code: Value, wires: tuple[Wire, ...]) -> Value:
    """A code in its byte."""
    return Cat(_driven(code, wire) for wire in wires)


def _driven(code: Value, wire: Wire) -> Value:
    """The bit of a lane that a wire makes of a code."""
    sources = [Const(1, 1) if source < 0 else code[source] for source in wire] or [Const(0, 1)]
    return Cat(sources).any() if len(sources) > 1 else sources[0]
