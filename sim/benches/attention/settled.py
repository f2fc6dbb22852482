"""What value sums say by ``settled``, held against what they do."""

from hw.attention.payloads import Access, value_segment
from hw.config import Config
from sim.packing import codec
from sim.streams import Domain

__all__ = ["Settled"]


class Settled:
    """Checks that what settled sums say of dot products is so, where their segment and its term are there."""

    def __init__(self, domain: Domain, config: Config) -> None:
        self.held = 0
        self._cycles = config.rows // max(config.rows // 2, config.rescale_units)
        names = ("settled", "dots_valid", "dots_ready", "segments_valid", "terms_valid", "segments_payload")
        self._read = {name: domain.reader(name) for name in names}
        self._unpack = codec(value_segment(config)).unpack
        self._left: int | None = None
        domain.add(self)

    def step(self) -> None:
        there = all(self._read[name]() for name in ("settled", "dots_valid", "segments_valid", "terms_valid"))
        if there and self._left is None:
            segment = self._unpack(self._read["segments_payload"]())
            if segment["access"] == Access.DOTS and (segment["fresh"] or not segment["moved"]):
                self._left = self._cycles
        if self._left is None:
            return
        self._left -= 1
        if self._read["dots_valid"]() and self._read["dots_ready"]():
            self._left, self.held = None, self.held + 1
        elif not self._left:
            raise AssertionError("settled sums have not taken dot products in time")

    def restart(self) -> None:
        self._left = None

    def status(self) -> str:
        return f"settled: {self.held} dot products taken in time"
