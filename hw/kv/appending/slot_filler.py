"""Slot filler: a few bytes at a time to words of memory, or parts of them, with byte enables."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["SlotFiller", "slot", "slot_bytes"]

_BYTE = 8


def slot_bytes(size: int, count: int) -> data.StructLayout:
    """Some of ``size`` bytes in a row, the ``address``-th ones of ``count``; ``last`` of what is gathered."""
    return data.StructLayout(
        {"address": range(count), "data": data.ArrayLayout(_BYTE, size), "enables": size, "last": 1}
    )


def slot(size: int, count: int) -> data.StructLayout:
    """The ``address``-th of ``count`` slots of ``size`` bytes, of which some are enabled."""
    return data.StructLayout(
        {"address": range(count), "data": data.ArrayLayout(_BYTE, size), "enables": size}
    )


class SlotFiller(wiring.Component):
    """Gather rising addresses in slots; a slot leaves with its last byte, or with what is ``last``.

    Throughput: a beat a cycle. Latency: 1 cycle. ``beats.ready`` is combinational from ``slots.ready``, as in
    ``hw.kv.lane_packer``. Bytes that are not enabled have any value, which stays while a slot waits.

    Args:
        beat: bytes of a beat.
        size: bytes of a slot, a power-of-two multiple of ``beat``.
        count: slots of the memory.

    Members:
        beats (in stream): bytes; between two ``last`` of one slot after the other.
        slots (out stream): what was gathered.
    """

    config = None

    def __init__(self, beat: int, size: int, count: int) -> None:
        self.units = size // beat
        super().__init__(
            {
                "beats": In(stream.Signature(slot_bytes(beat, count * self.units))),
                "slots": Out(stream.Signature(slot(size, count))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, filled = self.beats.payload, self.slots.payload
        inner = exact_log2(self.units)
        take = Signal()
        whole = Signal()
        opens = Signal(init=1)  # the next beat is the first one of a slot
        place = Signal(range(self.units))
        m.d.comb += [
            self.beats.ready.eq(~self.slots.valid | self.slots.ready),
            take.eq(self.beats.valid & self.beats.ready),
            place.eq(beat.address[:inner]),
            whole.eq(beat.last | ((place == self.units - 1) & beat.enables[-1])),
        ]
        with m.If(self.beats.ready):
            m.d.sync += self.slots.valid.eq(self.beats.valid & whole)
        with m.If(take):
            m.d.sync += [opens.eq(whole), filled.address.eq(beat.address[inner:])]
        size = len(beat.enables)
        for unit in range(self.units):
            here = Signal(name=f"here_{unit}")
            mine = filled.enables[unit * size :][:size]
            m.d.comb += here.eq(place == unit)
            with m.If(take & (here | opens)):
                m.d.sync += mine.eq(Mux(here, beat.enables, 0) | Mux(opens, 0, mine))
            for number in range(size):
                with m.If(take & here & beat.enables[number]):
                    m.d.sync += filled.data[unit * size + number].eq(beat.data[number])
        return m
