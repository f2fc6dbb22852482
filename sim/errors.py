"""Errors: outputs by which a design reports that something was wrong, and the plan that each of them rises.

Such an output is one bit wide, high for one cycle an event, and called ``error`` or ``error_...`` (something
was left out, filled up or marked), or ``clamped`` or ``overflow`` (a number left its range). A bench takes
their names from the ports of its design: one without a case leaves bins empty, which fails a session.
"""

import re
from collections.abc import Iterable, Mapping

from sim import context
from sim.coverage import Coverage
from sim.spacing import SPACINGS
from sim.streams import Domain

__all__ = ["OF_NUMBERS", "ErrorCounter", "ErrorPlan", "outputs"]

_EVENTS = re.compile(r"error(_\w+)?|clamped|overflow")
OF_NUMBERS = ("clamped", "overflow", "special")
"""What concerns a number alone: nothing is left out, so silence behind it means nothing."""


def outputs(ports: Mapping[str, context.Port]) -> tuple[str, ...]:
    """Names of the error outputs among some ports."""
    return tuple(
        name
        for name, port in ports.items()
        if _EVENTS.fullmatch(name) and port.width == 1 and not port.is_input
    )


class ErrorPlan(Coverage):
    """A bin for each error and each spacing of what a bench sends.

    Args:
        block: name of the design under test.
        names: of the errors; by default the error outputs of the design.
    """

    def __init__(self, block: str, names: Iterable[str] | None = None) -> None:
        self.names = outputs(context.ports()) if names is None else tuple(names)
        super().__init__(
            f"{block}_errors",
            {"error": self.names, "spacing": SPACINGS},
            lambda error, spacing: error in OF_NUMBERS and spacing != SPACINGS[0],
        )

    def reported(self, counts: Mapping[str, int], spacing: str = SPACINGS[0]) -> None:
        """Count errors that were expected and came, those of numbers whatever the spacing."""
        for name, count in counts.items():
            if count:
                self.hit(error=name, spacing=SPACINGS[0] if name in OF_NUMBERS else spacing)


class ErrorCounter:
    """Counts the cycles in which each error output is high; an agent of the domain.

    Attributes:
        counts: cycles by output, since the last reset.
    """

    def __init__(self, domain: Domain, plan: ErrorPlan) -> None:
        self._plan = plan
        self._readers = {name: domain.reader(name) for name in plan.names}
        self.counts = dict.fromkeys(plan.names, 0)
        domain.add(self)

    def expect(self, counts: Mapping[str, int], spacing: str = SPACINGS[0]) -> None:
        """Require these counts, and none of the other outputs.

        Raises:
            AssertionError: another count.
        """
        assert self.counts == dict.fromkeys(self.counts, 0) | dict(counts), self.counts
        self._plan.reported(counts, spacing)

    def step(self) -> None:
        for name, read in self._readers.items():
            if read():
                self.counts[name] += 1

    def restart(self) -> None:
        self.counts = dict.fromkeys(self.counts, 0)

    def status(self) -> str:
        return f"errors: {self.counts}"
