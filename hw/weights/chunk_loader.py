"""Chunk loader: windows of packed codes to chunks of left-aligned bytes."""

from itertools import product

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.datatypes import LANE_BITS
from hw import payloads
from hw.config import Config
from hw.weights.lane_mapper import LaneMapper, lane_maps, lane_take, most_takes
from hw.weights.packet_place import place_layout
from hw.weights.realigner import window_bits

__all__ = ["ChunkLoader", "code_load_layout"]

code_load_layout = data.StructLayout({"staged": 1, "codes": 1, "chunks": 1})
"""What a window of codes is: the first one of several, one in the middle, the last one."""


class ChunkLoader(wiring.Component):
    """Assemble chunks in the register that offers them.

    A chunk's first window waits in a register of its own, so that reading overlaps with the use of the chunk
    before; the others go to their lanes at once, as soon as that chunk is accepted. So a consumer that takes
    as many cycles a chunk as it has windows, or more, gets the next one without a gap.

    Members:
        window (in): codes.
        load (in): take ``window``; ``codes`` and ``chunks`` only while ``room``.
        step (in): number of the window in its chunk.
        undivided (in): with ``chunks``: the window is the only one although chunks of this type may have two.
        lane_map (in): one-hot, which of ``lane_maps(config)``.
        format, selectors, place (in): what belongs to the chunk; with ``chunks``.
        room (out): the register is free or being freed.
        chunks (out stream): one cycle after the last window of each.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        chunk = payloads.chunk(config)
        super().__init__(
            {
                "window": In(window_bits(config)),
                "load": In(code_load_layout),
                "step": In(range(most_takes(config))),
                "undivided": In(1),
                "lane_map": In(len(lane_maps(config))),
                "format": In(chunk["format"].shape),
                "selectors": In(chunk["selectors"].shape),
                "place": In(place_layout),
                "room": Out(1),
                "chunks": Out(stream.Signature(chunk)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.lanes = lanes = LaneMapper(self.config)
        staged = Signal(self.config.memory_bits, reset_less=True)
        payload = Signal(self.chunks.p.shape(), reset_less=True)
        m.d.comb += [
            lanes.staged.eq(staged),
            lanes.window.eq(self.window),
            lanes.undivided.eq(self.undivided),
            lanes.select.eq(self.lane_map),
            self.chunks.payload.eq(payload),
            self.room.eq(~self.chunks.valid | self.chunks.ready),
        ]
        with m.If(self.load.staged):
            m.d.sync += staged.eq(self.window)
        with m.If(self.chunks.ready):
            m.d.sync += self.chunks.valid.eq(0)
        with m.If(self.load.chunks):
            m.d.sync += [
                self.chunks.valid.eq(1),
                payload.selectors.eq(self.selectors),
                payload.format.eq(self.format),
                payload.last.eq(self.place.last),
                payload.final.eq(self.place.final),
                payload.finished.eq(self.place.finished),
            ]
        for number, (middle, places) in enumerate(self._groups().items()):
            loads = Signal(name=f"loads_{number}")
            m.d.comb += loads.eq(self._loads(middle))
            with m.If(loads):
                for row, lane, bit in places:
                    m.d.sync += payload.codes[row][lane][bit].eq(lanes.codes[row][lane][bit])
        return m

    def _groups(self) -> dict[tuple[int, ...], list[tuple[int, int, int]]]:
        """Bits of lanes (row, lane, bit) that are loaded together.

        Returns:
            By the number of the middle window that has them, 0 if none does, for each lane map.
        """
        config = self.config
        groups: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        for row, lane, bit in product(range(config.rows), range(config.lanes), range(LANE_BITS)):
            takes = ((entry, lane_take(entry, config, row, lane, bit)) for entry in lane_maps(config))
            middle = tuple(take if take < entry.takes - 1 else 0 for entry, take in takes)
            groups.setdefault(middle, []).append((row, lane, bit))
        return groups

    def _loads(self, middle: tuple[int, ...]) -> Value:
        """Whether bits are loaded that come in these middle windows, or in first or last ones."""
        own = Cat(line for line, take in zip(self.lane_map, middle, strict=True) if take)
        now = Cat(
            line & (self.step == take) for line, take in zip(self.lane_map, middle, strict=True) if take
        )
        return (self.load.chunks & ~own.any()) | (self.load.codes & now.any())
