"""Memory behind the ports of units of the core: lines of reads in order, and bytes of writes."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.core.commands import LINE_BYTES
from hw.config import Config
from hw.core.payloads import read_request, read_word, write_request
from sim.streams import Domain, StreamSink, StreamSource, situation

__all__ = ["Channel", "UnitMemory"]


@dataclass
class UnitMemory:
    """Memory of some units.

    Attributes:
        content: uint8, the window.
        reads: requests so far, of all units.
        failing: the one of them that the bus refuses a word of.
        outside: something was written outside the window.
    """

    content: NDArray[np.uint8]
    reads: int = 0
    failing: int = 0
    outside: bool = False


class Channel:
    """Reads and writes of one unit; requests are answered in order.

    Args:
        memory: what is read and written.
        domain: of the unit.
        config: gives ``memory_bits``.
        stalls: of each stream, one of ``SITUATIONS``.
        prefix: of the unit's ports.
        writes: the unit has a stream of writes.

    Attributes:
        ahead: requests that were there when the last word of one before them was taken, one by one.
    """

    def __init__(
        self,
        memory: UnitMemory,
        domain: Domain,
        config: Config,
        stalls: str,
        prefix: str = "",
        writes: bool = True,
    ) -> None:
        where, self.memory, self.config = situation(stalls), memory, config
        self.bytes = config.memory_bits // 8
        self.ahead: list[int] = []
        self.words = StreamSource(domain, f"{prefix}words", read_word(config), where.source, self._taken)
        waits = where.sink, where.sink_waits
        self.requests = StreamSink(domain, f"{prefix}requests", read_request(), *waits, self._read)
        if writes:
            self.writes = StreamSink(domain, f"{prefix}writes", write_request(config), *waits, self._write)

    def _taken(self, bits: int) -> None:
        if self.words.codec.unpack(bits)["last"]:
            self.ahead.append(self.requests.count - len(self.ahead) - 1)

    def _read(self, bits: int) -> None:
        request, memory, width = self.requests.codec.unpack(bits), self.memory, self.bytes
        memory.reads += 1
        first, count = request["line"] * LINE_BYTES, request["words"]
        if count == 0 or first + count * width > len(memory.content):
            data = random.getrandbits(self.config.memory_bits)
            self.words.send({"data": data, "last": 1, "outside": 1, "failed": 0})
            return
        failed = random.randrange(count) if memory.reads == memory.failing else count
        data = memory.content[first : first + count * width].tobytes()
        for place in range(count):
            word = int.from_bytes(data[place * width : (place + 1) * width], "little")
            last = place == count - 1
            self.words.send({"data": word, "last": last, "outside": 0, "failed": place == failed})

    def _write(self, bits: int) -> None:
        write, width = self.writes.codec.unpack(bits), self.bytes
        first = write["line"] * LINE_BYTES + write["word"] * width
        if first + width > len(self.memory.content):
            self.memory.outside = True
            return
        data = np.frombuffer(write["data"].to_bytes(width, "little"), np.uint8)
        enables = np.array([write["enables"] >> byte & 1 for byte in range(width)], bool)
        np.copyto(self.memory.content[first : first + width], data, where=enables)
