"""Flags that are high for one cycle an event, counted."""

from collections.abc import Iterable, Mapping

from sim.streams import Domain

__all__ = ["PulseCounter"]


class PulseCounter:
    """Counts the cycles in which each of some outputs is high; an agent of the domain.

    Attributes:
        counts: cycles by output, since the last reset.
    """

    def __init__(self, domain: Domain, names: Iterable[str]) -> None:
        self._readers = {name: domain.reader(name) for name in names}
        self.counts = dict.fromkeys(self._readers, 0)
        domain.add(self)

    def expect(self, counts: Mapping[str, int]) -> None:
        """Require these counts, and none of the other outputs.

        Raises:
            AssertionError: another count.
        """
        assert self.counts == dict.fromkeys(self.counts, 0) | dict(counts), self.counts

    def step(self) -> None:
        for name, read in self._readers.items():
            self.counts[name] += read()

    def restart(self) -> None:
        self.counts = dict.fromkeys(self.counts, 0)

    def status(self) -> str:
        return f"pulses: {self.counts}"
