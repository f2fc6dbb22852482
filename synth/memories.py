"""Area of memories that are left whole: what macros take, by the bit or by a library of macros."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth import liberty

__all__ = ["Macro", "Macros", "MacrosError", "Memory", "parse"]

_ALLOWED = "the area of a bit, above 0 and at most 1000, or Liberty files of macros or a folder of them"

_WORD = re.compile(r"\bword_width\s*:\s*(\d+)")
_ADDRESS = re.compile(r"\baddress_width\s*:\s*(\d+)")


class MacrosError(ValueError):
    """Macros that do not exist or cannot be read; the text is one line."""


@dataclass(frozen=True)
class Memory:
    """Memories of one size that were left whole.

    Attributes:
        words: of each.
        width: bits of a word.
        instances: how many there are.
    """

    words: int
    width: int
    instances: int = 1

    @property
    def bits(self) -> int:
        """Of all instances."""
        return self.words * self.width * self.instances


@dataclass(frozen=True)
class Macro:
    """A memory macro of a library; ``area`` in the library's own unit."""

    name: str
    words: int
    width: int
    area: float


@dataclass(frozen=True)
class Macros:
    """What memories cost.

    Attributes:
        name: what reports call them.
        bit: area of a bit, where no macros are known.
        macros: to put memories together from; those of one memory are all of one kind.
    """

    name: str
    bit: float = 0.0
    macros: tuple[Macro, ...] = ()

    def area(self, memories: Iterable[Memory]) -> float:
        """Area of memories, each of the macros that make it smallest."""
        return sum(self._area(memory) for memory in memories)

    def _area(self, memory: Memory) -> float:
        if not self.macros:
            return self.bit * memory.bits
        found = (
            -(-memory.words // macro.words) * -(-memory.width // macro.width) * macro.area
            for macro in self.macros
        )
        return min(found) * memory.instances


def parse(text: str) -> Macros:
    """What a user's word stands for: the area of a bit, Liberty files joined by commas, a folder.

    Raises:
        MacrosError: neither a number above 0, nor files that can be read and hold macros.
    """
    try:
        bit = float(text)
    except ValueError:
        return _library(text)
    if not 0 < bit <= 1000:
        raise MacrosError(f"{text!r} must be {_ALLOWED}")
    return Macros(f"{bit:g} a bit", bit)


def _library(text: str) -> Macros:
    paths: list[Path] = []
    for part in text.split(","):
        path = Path(part.strip())
        paths += sorted(path.glob("*.lib*")) if path.is_dir() else [path]
    macros: list[Macro] = []
    for path in paths:
        try:
            macros += _macros(liberty.read_text(path))
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MacrosError(f"{text!r} must be {_ALLOWED}: {str(path)!r}: {reason}") from None
    if not macros:
        raise MacrosError(f"{text!r} must be {_ALLOWED}: no memory macro found")
    name = macros[0].name if len(macros) == 1 else f"{len(macros)} macros like {macros[0].name}"
    return Macros(name, macros=tuple(macros))


def _macros(text: str) -> Sequence[Macro]:
    """The memories among the cells of a Liberty text."""
    found = []
    for name, body in liberty.cell_texts(text):
        address, word = _ADDRESS.search(body), _WORD.search(body)
        area = liberty.attribute(body, "area")
        if address and word and float(area or 0) > 0:
            found.append(Macro(name, 2 ** int(address.group(1)), int(word.group(1)), float(area)))
    return found
