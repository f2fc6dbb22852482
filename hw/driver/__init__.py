"""The decode core's driver in C: ``kvloom_core.h`` says what it does and what it needs of a platform."""

from pathlib import Path

from hw.core import registers

__all__ = ["REGISTERS", "SOURCES", "files"]

SOURCES = ("kvloom_core.h", "kvloom_core.c", "example.h", "example.c")
REGISTERS = "kvloom_core_registers.h"
"""The file that the driver includes for the core's registers."""


def files() -> dict[str, str]:
    """The driver, its example and the registers: name to text."""
    folder = Path(__file__).parent
    return {name: (folder / name).read_text() for name in SOURCES} | {REGISTERS: registers.c_header()}
