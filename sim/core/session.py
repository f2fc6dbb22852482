"""A prompt and its continuation on the simulated core, token after token."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.core.commands import LINE_BYTES
from golden.core.image import Image
from golden.core.state import SEQUENCE, field_values
from sim.core.driver import CommandFailed, Driver
from sim.core.simulation import BORDER, Counters, Simulation, SimulationError

__all__ = ["Session", "Step", "memory_bytes"]

_LINE_WORDS = LINE_BYTES // 4
_PATIENCE = 1_000_000_000
"""Cycles after which a token is given up."""


def memory_bytes(image: Image) -> int:
    """Size of a memory that holds an image."""
    return -(-len(image.memory) // BORDER) * BORDER


_RECORD = 10_000
"""Cycles within which the completion of a command that failed is in memory."""


@dataclass(frozen=True)
class Step:
    """What the commands of a token gave.

    Attributes:
        token: id of the token at the new position, one of the prompt's or a new one.
        passed: what the memory saw.
        stopped: the token ends the text.
    """

    token: int
    passed: Counters
    stopped: bool


class Session:
    """A core that has prompts to continue.

    Args:
        simulation: the core; its memory has room for the image.
        image: made for that core.
        memory: uint8, what its window begins with: an image with prompts, or what golden made of one.

    Attributes:
        memory: uint8, the core's window.

    Raises:
        ValueError: the image does not fit the memory.
    """

    def __init__(self, simulation: Simulation, image: Image, memory: NDArray[np.uint8]) -> None:
        self.simulation, self.symbols = simulation, image.symbols
        self._driver = Driver(simulation, len(memory))
        self.memory = self._driver.memory
        self.memory[:] = memory
        self._words = self.memory.view("<u4")
        symbols, self._turn = self.symbols, 0
        self._driver.start(symbols.ring, symbols.commands, symbols.completions, symbols.identity)

    def step(self) -> Step:
        """Take the sequence whose turn it is one token further.

        Raises:
            CommandFailed: a command ended with an error; the text says which.
            SimulationError: the core broke a rule, or does not come to an end.
        """
        before, symbols = self.simulation.counters, self.symbols
        self._driver.submit(symbols.token_commands)
        try:
            self._driver.wait(_PATIENCE)
        except CommandFailed as failure:
            self.simulation.run(_RECORD)
            raise CommandFailed(next(self._failures(), str(failure))) from None
        passed = self.simulation.counters - before
        complete = sum(1 for _ in self._driver.completions())
        if complete != symbols.token_commands:
            raise SimulationError(f"{complete} of {symbols.token_commands} commands are complete")
        line = self._words[(symbols.sequence + self._turn) * _LINE_WORDS :][:_LINE_WORDS]
        state = field_values(line, SEQUENCE)
        token = self._words[state["tokens"] * _LINE_WORDS + state["position"]]
        self._turn = (self._turn + 1) % symbols.sequences
        return Step(int(token), passed, bool(state["stopped"]))

    def _failures(self) -> Iterator[str]:
        for place, ended in enumerate(self._driver.completions()):
            if ended.status.is_error:
                yield f"command {place} ended with {ended.status.name} after {ended.cycles:,} cycles"
