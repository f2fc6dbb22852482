"""The core's driver in C, as compiled into the library of the simulated core: what a user's program calls."""

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

from golden.core.commands import Status
from sim.core.simulation import Simulation, SimulationError

__all__ = ["CommandFailed", "Completion", "Driver"]


class CommandFailed(RuntimeError):
    """A command or a write to memory failed; completions say which and why."""


class Completion(NamedTuple):
    """What a command left behind, ``struct kvloom_completion``."""

    id: int
    status: Status
    bytes: int
    cycles: int


class _Core(ctypes.Structure):
    """``struct kvloom_core``."""

    _fields_ = [
        ("context", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("address", ctypes.c_uint64),
        ("bytes", ctypes.c_size_t),
        ("ring", ctypes.c_uint32),
        ("given", ctypes.c_uint32),
        ("taken", ctypes.c_uint32),
        ("place", ctypes.c_uint32),
        ("completions", ctypes.c_size_t),
    ]


class _Completion(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in Completion._fields]


_THIS = ctypes.POINTER(_Core)

#: Functions of kvloom_core.h: what each returns, and its arguments.
_FUNCTIONS = {
    "open": (ctypes.c_int, _THIS, ctypes.c_void_p, ctypes.c_size_t),
    "start": (ctypes.c_int, _THIS, *[ctypes.c_uint32] * 3, ctypes.c_uint64),
    "submit": (ctypes.c_int, _THIS, ctypes.c_uint32),
    "wait": (ctypes.c_int, _THIS),
    "resume": (None, _THIS),
    "next": (ctypes.c_int, _THIS, ctypes.POINTER(_Completion)),
}

#: ``enum kvloom_result``.
_OK, _NO_CORE, _NO_MEMORY, _BAD_RING, _GIVEN_UP, _FAILED, _BAD_WINDOW, _STARTED = range(8)
_PROBLEMS = {
    _NO_CORE: "there is no decode core",
    _NO_MEMORY: "there is no room for the window",
    _BAD_RING: "the ring does not fit",
    _BAD_WINDOW: "the window lies where none can",
    _STARTED: "the core has been started before",
}


class Driver:
    """A window of memory of its own for the core.

    Args:
        simulation: the core and its memory.
        window_bytes: size of the window, a multiple of 64.

    Attributes:
        simulation: as above.
        memory: uint8 [window_bytes], the window.
    """

    def __init__(self, simulation: Simulation, window_bytes: int) -> None:
        self.simulation = simulation
        self._core = _Core()
        self._call("open", simulation.handle, window_bytes)
        first = self._core.address - simulation.base
        self.memory = simulation.memory[first : first + window_bytes]

    def _call(self, name: str, *arguments: object) -> Any:
        function = getattr(self.simulation.library, f"kvloom_core_{name}")
        function.restype, *function.argtypes = _FUNCTIONS[name]
        result = function(ctypes.byref(self._core), *arguments)
        if result in _PROBLEMS and name != "next":
            raise ValueError(_PROBLEMS[result])
        return result

    def start(self, ring: int, commands: int, completions: int, model: int = 0) -> None:
        """Start the core.

        Args:
            ring: line of the first command.
            commands: of the ring.
            completions: line of the first completion.
            model: identity of the image.
        """
        self._call("start", ring, commands, completions, model)

    def submit(self, commands: int) -> None:
        """Give the core the next commands of the ring.

        Raises:
            ValueError: not so many are complete.
        """
        self._call("submit", commands)

    def wait(self, cycles: int) -> None:
        """Wait for the interrupt, and take it.

        Raises:
            SimulationError: not within so many cycles.
            CommandFailed: it tells of an error.
        """
        if not self.simulation.run(cycles):
            raise SimulationError(f"no interrupt within {cycles:,} cycles")
        if self._call("wait") == _FAILED:
            raise CommandFailed("a command or a write to memory failed")

    def resume(self) -> None:
        """Go on behind a command that failed and had the flag ``stop``."""
        self._call("resume")

    def completions(self) -> Iterator[Completion]:
        """Those that are new, in order, but for those whose places have been given to later commands."""
        found = _Completion()
        while self._call("next", ctypes.byref(found)):
            yield Completion(found.id, Status(found.status), found.bytes, found.cycles)
