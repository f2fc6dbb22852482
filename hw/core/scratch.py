"""Scratch memory of the decode core: vectors of float32 that never leave the chip."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hw.config import Config
from hw.core.payloads import scratch_read, scratch_shape, scratch_write

__all__ = ["Scratch"]


class Scratch(wiring.Component):
    """One memory for several users, of which at most one reads and one writes in a cycle.

    Args:
        config: with its size.
        readers, writers: names of the users.

    Members:
        read_NAME, write_NAME (in): ports of the users; a word read comes a cycle later and stays.
    """

    def __init__(self, config: Config, readers: Sequence[str], writers: Sequence[str]) -> None:
        self.config, self.readers, self.writers = config, tuple(readers), tuple(writers)
        super().__init__(
            {
                **{f"read_{name}": In(scratch_read(config)) for name in readers},
                **{f"write_{name}": In(scratch_write(config)) for name in writers},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.config.core.lanes
        m.submodules.memory = memory = Memory(
            shape=scratch_shape(self.config), depth=self.config.core.scratch // lanes, init=[]
        )
        read = memory.read_port()
        write = memory.write_port(granularity=1)
        readers = [getattr(self, f"read_{name}") for name in self.readers]
        writers = [getattr(self, f"write_{name}") for name in self.writers]
        enable = Signal()
        m.d.comb += read.en.eq(enable)
        for port in readers:
            m.d.comb += port.data.eq(read.data)
            with m.If(port.enable):
                m.d.comb += [read.addr.eq(port.address), enable.eq(1)]
        for port in writers:
            with m.If(port.enables.any()):
                m.d.comb += [write.addr.eq(port.address), write.data.eq(port.data), write.en.eq(port.enables)]
        return m
