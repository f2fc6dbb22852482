"""Scratch memory beside a unit of the decode core: a word a cycle each way."""

import numpy as np
from numpy.typing import NDArray

from sim.streams import Domain

__all__ = ["ScratchMemory"]


class ScratchMemory:
    """An agent of the domain behind the ports ``scratch_read`` and ``scratch_write``.

    Args:
        domain: clock domain.
        lanes: elements of a word.
        size: elements.

    Attributes:
        elements: float32 [size].
        reads, writes: words of each so far.
    """

    def __init__(self, domain: Domain, lanes: int, size: int) -> None:
        self.lanes = lanes
        self.elements = np.zeros(size, np.float32)
        self.reads = self.writes = 0
        self._domain = domain
        read, write = (
            {
                name: domain.reader(f"scratch_{port}_{name}")
                for name in ("enable", "address", "enables", "data")
            }
            for port in ("read", "write")
        )
        self._read_enable, self._read_address = read["enable"], read["address"]
        self._enables, self._address, self._data = write["enables"], write["address"], write["data"]
        self._write_data = domain.writer("scratch_read_data")
        domain.add(self)

    def _words(self) -> NDArray[np.uint32]:
        return self.elements.view(np.uint32).reshape(-1, self.lanes)

    def step(self) -> None:
        words = self._words()
        if self._read_enable():
            address = self._read_address()
            assert address < len(words), f"word {address} is read in cycle {self._domain.cycle}"
            self.reads += 1
            self._write_data(int.from_bytes(words[address].tobytes(), "little"))
        enables = self._enables()
        if enables:
            address = self._address()
            assert address < len(words), f"word {address} is written in cycle {self._domain.cycle}"
            self.writes += 1
            data = np.frombuffer(self._data().to_bytes(4 * self.lanes, "little"), "<u4")
            for lane in range(self.lanes):
                if enables >> lane & 1:
                    words[address, lane] = data[lane]

    def restart(self) -> None:
        self.reads = self.writes = 0

    def status(self) -> str:
        return f"scratch memory: {self.reads} words read, {self.writes} written"
