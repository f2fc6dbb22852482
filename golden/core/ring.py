"""The commands of a ring, as bytes and as lines of text."""

from dataclasses import dataclass, field

from golden.core.commands import Opcode, encode

__all__ = ["Program"]

_OWN = ("head", "sequence")
"""Fields whose lines are a sequence's own."""


@dataclass
class Program:
    """Commands in order, with a line of text each."""

    given: list[tuple[Opcode, dict[str, int]]] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)

    def again(self, count: int, lines: dict[int, int]) -> None:
        """The first ``count`` commands once more, with other lines of what is a sequence's own."""
        for opcode, values in self.given[:count]:
            own = {name: lines[values[name]] for name in _OWN if name in values}
            self.add(opcode, **values | own)

    def add(self, opcode: Opcode, **values: int) -> None:
        """A command."""
        number = len(self.commands)
        self.given.append((opcode, values))
        self.commands.append(encode(opcode, id=number, stop=1, **values))
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        self.listing.append(f"{number:5} {opcode.name.lower():8}{shown}")
