"""The callable core: the Verilated decode core with a memory and its driver, for Python and C."""

from sim.core.driver import CommandFailed, Completion, Driver
from sim.core.library import build, build_core
from sim.core.session import Session, Step, memory_bytes
from sim.core.simulation import Counters, Response, Simulation, SimulationError, Timing

__all__ = [
    "CommandFailed",
    "Completion",
    "Counters",
    "Driver",
    "Response",
    "Session",
    "Simulation",
    "SimulationError",
    "Step",
    "Timing",
    "build",
    "build_core",
    "memory_bytes",
]
