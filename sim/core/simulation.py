"""The decode core as a Python object: the Verilated circuit with a memory, its registers, and waveforms.

Cycles pass in C++ only. The memory is a NumPy array, the same bytes that the circuit reads and writes.
"""

import ctypes
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counters", "Response", "Simulation", "SimulationError", "Timing"]


BORDER = 4096
"""Bytes; no burst crosses a multiple of it."""

_SLICE = 20_000
"""Cycles between looks at whether the user wants to end."""

_INTERRUPT, _LIMIT, _BROKEN = range(3)
"""How a run ends, ``enum simulation_end`` of simulation.h."""


class SimulationError(RuntimeError):
    """An assertion of the circuit failed, it broke a rule of AXI, or a register did not answer."""


class Response(IntEnum):
    """Of AXI to an access that fails."""

    SLVERR = 2
    DECERR = 3


@dataclass(frozen=True)
class Timing:
    """How fast the memory is.

    Attributes:
        latency: cycles from an address to its first word, and from written data to the response; at least 1.
        spread: each latency is longer or shorter by up to so many cycles.
        words: words of memory that pass in ``cycles`` cycles at most, read and written together.
        cycles: see ``words``; 1 word in 1 cycle is what the port can read.
        outstanding: bursts of each kind that are taken before the first one is answered.
        stalls: of 256 cycles, in how many a channel stands still.
        seed: of what is random.
    """

    latency: int = 100
    spread: int = 0
    words: int = 1
    cycles: int = 1
    outstanding: int = 32
    stalls: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Counters:
    """What the memory has seen.

    Attributes:
        cycles: outside reset.
        read_words, write_words: each takes the port a cycle.
        write_bytes: those that writes enabled.
        read_bursts, write_bursts: addresses.
    """

    cycles: int
    read_words: int
    write_words: int
    write_bytes: int
    read_bursts: int
    write_bursts: int

    def share(self, word_bytes: int) -> float:
        """Bytes moved over what the port could move."""
        return (self.read_words * word_bytes + self.write_bytes) / (self.cycles * word_bytes)

    def __sub__(self, before: "Counters") -> "Counters":
        pairs = ((getattr(self, field.name), getattr(before, field.name)) for field in fields(self))
        return Counters(*(now - then for now, then in pairs))


class _Timing(ctypes.Structure):
    """``Timing`` of memory.h."""

    _fields_ = [(field.name, ctypes.c_uint32) for field in fields(Timing)[:-1]] + [("seed", ctypes.c_uint64)]


class _Counters(ctypes.Structure):
    """``Counters`` of memory.h."""

    _fields_ = [(field.name, ctypes.c_uint64) for field in fields(Counters)]


_THIS = ctypes.c_void_p
_U8, _U32, _U64, _SIZE = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t

#: Functions of simulation.h: what each returns, and its arguments.
_FUNCTIONS = {
    "create": (_THIS, _SIZE, _U64, ctypes.POINTER(_Timing)),
    "destroy": (None, _THIS),
    "memory": (_THIS, _THIS),
    "word_bytes": (ctypes.c_uint,),
    "write": (ctypes.c_int, _THIS, _U32, _U32),
    "read": (ctypes.c_int, _THIS, _U32, ctypes.POINTER(_U32)),
    "run": (ctypes.c_int, _THIS, _U64),
    "reset": (None, _THIS, ctypes.c_uint),
    "fail": (None, _THIS, _U64, _U64, _U8),
    "confine": (None, _THIS, _U64, _U64),
    "pause": (None, _THIS, _U64),
    "counters": (None, _THIS, ctypes.POINTER(_Counters)),
    "problem": (ctypes.c_char_p, _THIS),
    "record": (ctypes.c_int, _THIS, ctypes.c_char_p, _U64, _U64),
}


class Simulation:
    """A core that has been reset, and its memory of zeros.

    Args:
        library: what ``sim.core.library.build`` has made.
        memory_bytes: size of the memory, a multiple of 4,096.
        base: bus address of its first byte, likewise.
        timing: how fast it is.

    Attributes:
        memory: uint8 [memory_bytes], shared with the circuit; of use until the object is closed.
        word_bytes: bytes of a word of memory.
    """

    def __init__(
        self, library: Path, memory_bytes: int, base: int = 0x80000000, timing: Timing = Timing()
    ) -> None:
        if memory_bytes <= 0 or memory_bytes % BORDER or base % BORDER:
            raise ValueError(
                f"memory of {memory_bytes} bytes at {base:#x} must be whole pages of {BORDER} bytes"
            )
        self.library = ctypes.CDLL(str(library))
        self.base = base
        values = _Timing(*(getattr(timing, field.name) for field in fields(Timing)))
        self.handle = self._call("create", memory_bytes, base, values, bound=False)
        self.word_bytes: int = self._call("word_bytes", bound=False)
        pointer = ctypes.cast(self._call("memory"), ctypes.POINTER(_U8))
        self.memory: NDArray[np.uint8] = np.ctypeslib.as_array(pointer, (memory_bytes,))

    def _call(self, name: str, *arguments: object, bound: bool = True) -> Any:
        function = getattr(self.library, f"simulation_{name}")
        function.restype, *function.argtypes = _FUNCTIONS[name]
        return function(*([self.handle] if bound else []), *arguments)

    def close(self) -> None:
        """End the simulation, with its memory."""
        if self.handle:
            self.memory = np.empty(0, np.uint8)
            self._call("destroy")
            self.handle = None

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, offset: int, value: int) -> int:
        """Write a register; returns AXI's response, 0 for OKAY."""
        return self._answered(self._call("write", offset, value))

    def read(self, offset: int) -> int:
        """Value of a register.

        Raises:
            SimulationError: there is no such register.
        """
        value = _U32()
        if response := self._answered(self._call("read", offset, ctypes.byref(value))):
            raise SimulationError(f"register {offset:#x} answers {Response(response).name}")
        return value.value

    def _answered(self, response: int) -> int:
        if response < 0:
            raise SimulationError(self.problem or "a register does not answer")
        return response

    @property
    def problem(self) -> str:
        """The first assertion that failed, or rule of AXI that was broken; empty if there is none."""
        return self._call("problem").decode()

    def run(self, cycles: int) -> bool:
        """Run until the interrupt is raised.

        Args:
            cycles: most cycles.

        Returns:
            Whether it is raised.
        """
        end = self._call("run", min(cycles, _SLICE))
        while end == _LIMIT and cycles > _SLICE:
            cycles -= _SLICE
            end = self._call("run", min(cycles, _SLICE))
        if end == _BROKEN:
            raise SimulationError(self.problem)
        return end == _INTERRUPT

    def reset(self, cycles: int = 4) -> None:
        """Reset the core and whatever it asked of the memory, whose bytes stay."""
        self._call("reset", cycles)

    def fail(self, first: int, last: int, response: Response) -> None:
        """Let accesses to bytes ``first`` to ``last`` of the memory fail, and do nothing."""
        self._call("fail", self.base + first, self.base + last, response)

    def confine(self, first: int, last: int) -> None:
        """Make every access to other bytes than ``first`` to ``last`` of the memory a broken rule."""
        self._call("confine", self.base + first, self.base + last)

    def pause(self, cycles: int) -> None:
        """Let the memory stand still for so many cycles."""
        self._call("pause", cycles)

    @property
    def counters(self) -> Counters:
        """What the memory has seen up to now."""
        counted = _Counters()
        self._call("counters", ctypes.byref(counted))
        return Counters(*(getattr(counted, field.name) for field in fields(Counters)))

    def record(self, path: Path, first: int, last: int) -> None:
        """Record cycles ``first`` to ``last`` as VCD.

        Raises:
            SimulationError: the core was built without ``waves``.
        """
        if self._call("record", str(path).encode(), first, last):
            raise SimulationError("the core was built without waveforms")
