"""Read what synthesis needs to know from Liberty text: areas, pins, functions, and which cells are adders."""

import gzip
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Adder",
    "Cell",
    "Pin",
    "attribute",
    "buffers",
    "cell_texts",
    "full_adder",
    "parse",
    "read_text",
    "stronger",
]

_CELL = re.compile(r'\bcell\s*\(\s*"?([^\s")]+)"?\s*\)\s*\{')
_PIN = re.compile(r'\bpin\s*\(\s*"?([^\s")]+)"?\s*\)\s*\{')
_SEQUENTIAL = re.compile(r"\b(?:ff|latch|statetable)\s*\(")
_TABLE = re.compile(r"\b(?:values|index_\d)\s*\([^)]*\)\s*;")
_GATE_ROLES = ("clock", "enable", "test", "out")
_TOKEN = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01]|[()!'^*&+|])")


@dataclass(frozen=True)
class Pin:
    """One signal pin; capacitances in the library's own unit, ``function`` is empty on inputs.

    ``maximum_load`` is the largest load that an output may drive, 0 where the library does not say;
    ``gate_role`` is ``clock``, ``enable``, ``test`` or ``out`` on the pins of a clock gate.
    """

    direction: str
    function: str = ""
    capacitance: float = 0.0
    maximum_load: float = 0.0
    gate_role: str = ""


@dataclass(frozen=True)
class Cell:
    """One library cell; ``area`` in the library's own unit (um2 in every library tried)."""

    name: str
    area: float
    sequential: bool
    dont_use: bool
    clock_gate: bool
    pins: Mapping[str, Pin] = field(default_factory=dict)

    def names(self, direction: str) -> list[str]:
        """Pin names of one direction, in file order."""
        return [name for name, pin in self.pins.items() if pin.direction == direction]


@dataclass(frozen=True)
class Adder:
    """A full adder cell: its name, three input pins and the two outputs with their polarity."""

    cell: str
    inputs: tuple[str, str, str]
    carry: str
    sum: str
    carry_inverted: bool
    sum_inverted: bool


def read_text(path: Path) -> str:
    """Text of a Liberty file, plain or gzip-compressed."""
    data = path.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")


def parse(text: str) -> dict[str, Cell]:
    """All cells of a Liberty text by name."""
    return {name: _cell(name, body) for name, body in cell_texts(text)}


def cell_texts(text: str) -> Iterator[tuple[str, str]]:
    """Name and text of each cell of a Liberty text, tables left out."""
    return _groups(_CELL, _TABLE.sub("", text))


def _groups(opening: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    """Name and text of each group; a group's text runs on to the next opening of its kind."""
    starts = list(opening.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends[: len(starts)], strict=True):
        yield match.group(1), text[match.end() : end]


def _cell(name: str, body: str) -> Cell:
    pins: dict[str, Pin] = {}
    for pin_name, pin_body in _groups(_PIN, body):
        pins.setdefault(pin_name, _pin(pin_body))
    return Cell(
        name=name,
        area=float(attribute(body, "area") or 0),
        sequential=_SEQUENTIAL.search(body) is not None,
        dont_use=attribute(body, "dont_use") == "true",
        clock_gate=attribute(body, "clock_gating_integrated_cell").startswith("latch_posedge"),
        pins=pins,
    )


def _pin(body: str) -> Pin:
    return Pin(
        direction=attribute(body, "direction"),
        function=attribute(body, "function"),
        capacitance=float(attribute(body, "capacitance") or 0),
        maximum_load=float(attribute(body, "max_capacitance") or 0),
        gate_role=next((r for r in _GATE_ROLES if attribute(body, f"clock_gate_{r}_pin") == "true"), ""),
    )


def attribute(body: str, name: str) -> str:
    """Value of the first simple attribute called ``name``, or an empty string."""
    match = re.search(rf'\b{name}\s*:\s*(?:"([^"]*)"|([^\s;]+))', body)
    return (match.group(1) if match.group(1) is not None else match.group(2)) if match else ""


def truth_table(function: str, inputs: Iterable[str]) -> tuple[bool, ...] | None:
    """Output of a Liberty boolean expression for every input combination, first input slowest.

    Returns None where the expression uses another name or cannot be read.
    """
    inputs = list(inputs)
    tokens = _tokens(function)
    if not tokens:
        return None
    rows = itertools.product((False, True), repeat=len(inputs))
    try:
        return tuple(_Expression(tokens, dict(zip(inputs, row, strict=True))).value() for row in rows)
    except (KeyError, IndexError):
        return None


def _tokens(function: str) -> list[str]:
    tokens, position = [], 0
    while match := _TOKEN.match(function, position):
        tokens.append(match.group(1))
        position = match.end()
    return tokens if not function[position:].strip() else []


class _Expression:
    """Recursive descent over Liberty's operators: ``!`` and ``'``, ``^``, ``* &`` or a blank, ``+ |``."""

    def __init__(self, tokens: list[str], values: Mapping[str, bool]):
        self._tokens = [*tokens, ""]
        self._values = {"0": False, "1": True, **values}
        self._at = 0

    def value(self) -> bool:
        result = self._or()
        if self._tokens[self._at]:
            raise KeyError(self._tokens[self._at])
        return result

    def _take(self, allowed: str) -> bool:
        found = self._tokens[self._at] != "" and self._tokens[self._at] in allowed
        self._at += found
        return found

    def _or(self) -> bool:
        result = self._and()
        while self._take("+|"):
            result |= self._and()
        return result

    def _and(self) -> bool:
        result = self._xor()
        while self._take("*&") or self._tokens[self._at] not in ("", ")", "+", "|"):
            result &= self._xor()
        return result

    def _xor(self) -> bool:
        result = self._not()
        while self._take("^"):
            result ^= self._not()
        return result

    def _not(self) -> bool:
        if self._take("!"):
            return not self._not()
        if self._take("("):
            result = self._or()
            if not self._take(")"):
                raise KeyError("parenthesis")
        else:
            result = self._values[self._tokens[self._at]]
            self._at += 1
        while self._take("'"):
            result = not result
        return result


_SUM = tuple(bool(i.bit_count() & 1) for i in range(8))
_CARRY = tuple(i.bit_count() >= 2 for i in range(8))


def full_adder(cells: Iterable[Cell]) -> Adder | None:
    """The smallest cell that is a full adder; either output may be inverted. None if there is none."""
    found = [(cell.area, cell.name, adder) for cell in cells if (adder := _as_full_adder(cell))]
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def _as_full_adder(cell: Cell) -> Adder | None:
    inputs, outputs = cell.names("input"), cell.names("output")
    if cell.sequential or cell.dont_use or len(inputs) != 3 or len(outputs) != 2:
        return None
    tables = {truth_table(cell.pins[name].function, inputs): name for name in outputs}
    inverted = {table: tuple(not bit for bit in table) for table in (_SUM, _CARRY)}
    total = tables.get(_SUM) or tables.get(inverted[_SUM])
    carry = tables.get(_CARRY) or tables.get(inverted[_CARRY])
    if total is None or carry is None:
        return None
    a, b, c = inputs
    return Adder(cell.name, (a, b, c), carry, total, inverted[_CARRY] in tables, inverted[_SUM] in tables)


def buffers(cells: Iterable[Cell]) -> list[Cell]:
    """Plain buffers, smallest first."""
    found = [cell for cell in cells if _is_buffer(cell)]
    return sorted(found, key=lambda cell: (cell.area, cell.name))


def stronger(cells: Mapping[str, Cell]) -> dict[str, list[Cell]]:
    """For each register, those that do the same and drive more, smallest first.

    Registers do the same where their names agree but for the drive strength at the end, and their pins agree.
    """
    alike: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells.values():
        if cell.sequential and not cell.dont_use:
            alike.setdefault((re.sub(r"\d+$", "", cell.name), *sorted(cell.pins)), []).append(cell)
    found = {}
    for family in alike.values():
        family.sort(key=lambda cell: (cell.area, cell.name))
        found.update({cell.name: family[place + 1 :] for place, cell in enumerate(family)})
    return found


def _is_buffer(cell: Cell) -> bool:
    inputs, outputs = cell.names("input"), cell.names("output")
    if cell.sequential or cell.dont_use or len(inputs) != 1 or len(outputs) != 1:
        return False
    return truth_table(cell.pins[outputs[0]].function, inputs) == (False, True)
