"""Clock, reset and cycle limit of a design, and the one task that steps everything attached to it.

The task wakes at each rising edge, in a combinational design once a clock period. Values read there are
those from before the edge; values written there reach the design after it. That costs one wake-up a cycle
however many streams a component has.
"""

from collections.abc import Callable
from typing import Any, Protocol

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer

from sim import context

__all__ = ["Agent", "Domain", "reset"]

CLOCK_PERIOD = 4  # ns, otherwise without meaning
SETTLED = 1  # ns from an edge to a moment at which nothing changes


class Agent(Protocol):
    """Something stepped at each rising edge."""

    def step(self) -> None:
        """Sample the values before this edge, then drive those for after it."""

    def restart(self) -> None:
        """Forget beats under way; called while reset is active."""

    def status(self) -> str:
        """One line for the report of a hang."""
        ...


class Domain:
    """The clock and reset of a design, its agents and its cycle limit.

    Attributes:
        dut: the design under test.
        cycle: rising edges so far, reset not counted.
    """

    def __init__(self, dut: Any, cycle_limit: int) -> None:
        self.dut = dut
        self.cycle = 0
        self._limit = cycle_limit
        self._agents: list[Agent] = []
        self._running = False
        self._clocked = context.clocked()
        self._edge = RisingEdge(dut.clk) if self._clocked else Timer(CLOCK_PERIOD, unit="ns")
        self._handles = {name: getattr(dut, name) for name in context.ports()}

    def add(self, agent: Agent) -> None:
        """Step ``agent`` from the next edge on."""
        self._agents.append(agent)

    async def reset(self, cycles: int = 2) -> None:
        """Hold the synchronous reset for ``cycles`` with every input low; agents restart."""
        self._running = False
        for name, port in context.ports().items():
            if port.is_input:
                self._handles[name].value = 0
        if self._clocked:
            self.dut.rst.value = 1
        await self.cycles(cycles)
        for agent in self._agents:
            agent.restart()
        if self._clocked:
            self.dut.rst.value = 0
        self._running = True

    async def cycles(self, count: int) -> None:
        """Wait for ``count`` rising edges."""
        if self._clocked:
            await ClockCycles(self.dut.clk, count)
        else:
            await Timer(count * CLOCK_PERIOD, unit="ns")

    async def run(self) -> None:
        """Step the agents for ever; a failure in one of them fails the test."""
        edge, agents = self._edge, self._agents
        while True:
            await edge
            if not self._running:
                continue
            self.cycle += 1
            if self.cycle > self._limit:
                states = "\n".join(f"  {agent.status()}" for agent in agents)
                raise AssertionError(f"cycle limit {self._limit} reached\n{states}")
            for agent in agents:
                agent.step()

    def reader(self, port: str) -> Callable[[], int]:
        """A function that reads ``port`` as an unsigned integer; a port that was not made reads as 1.

        It asks the simulator's handle below cocotb's: making a logic array of every value that a bench looks
        at took almost half of a run's time.
        """
        if port not in self._handles:
            return lambda: 1
        read = self._handles[port]._handle.get_signal_val_binstr

        def read_port() -> int:
            value = read()
            try:
                return int(value, 2)
            except ValueError:
                raise AssertionError(f"{port} is {value} in cycle {self.cycle}") from None

        def read_bit() -> int:
            value = read()
            return 0 if value == "0" else 1 if value == "1" else read_port()

        return read_bit if self.width(port) == 1 else read_port

    def writer(self, port: str) -> Callable[[int], None]:
        """A function that drives ``port``; a port that was not made ignores it."""
        return self._handles[port].set if port in self._handles else lambda _: None

    def width(self, port: str) -> int:
        """Width of ``port`` in bits, 0 where it was not made."""
        known = context.ports()
        return known[port].width if port in known else 0


async def reset(dut: Any, cycle_limit: int = 100_000) -> Domain:
    """Start the clock, reset the design, return its domain.

    Args:
        dut: the design under test.
        cycle_limit: the test fails after this many cycles.
    """
    domain = Domain(dut, cycle_limit)
    if context.clocked():
        Clock(dut.clk, CLOCK_PERIOD, unit="ns", impl="gpi").start(start_high=False)
    cocotb.start_soon(domain.run())
    await domain.reset()
    return domain
