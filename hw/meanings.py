"""What ports and payloads mean: docstrings of blocks and of payloads, taken apart for the pages of blocks."""

import ast
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Iterator
from types import ModuleType

from amaranth.hdl import ShapeLike
from amaranth.lib import data, wiring

from hw.config import Config

__all__ = ["payload", "ports", "prose"]

_ROOMS = ("core", "vector", "systems", "selection.moving", "selection", "attention", "kv")
"""Rooms that have payloads, each above the next; the ground below them is ``hw.payloads``."""

_SECTION = re.compile(r"^(?:Args|Members|Raises):\n", re.M)
_ENTRY = re.compile(r"^    (\w[^:\n]*): (.*(?:\n(?:     .*)?)*)", re.M)
_ELSEWHERE = re.compile(r"(.*?),? ?\bas of ``(\w+)``[.;,]? ?(.*)")


def prose(kind: type[wiring.Component]) -> str:
    """What a block does, as Markdown: the docstrings of its module and, without sections, of itself."""
    texts = inspect.getdoc(sys.modules[kind.__module__]) or "", _SECTION.split(_docstring(kind))[0].strip()
    return _markdown("\n\n".join(filter(None, texts)))


def ports(kind: type[wiring.Component]) -> dict[str, str]:
    """What the section ``Members`` of a block says of each member, as a line of Markdown.

    Where it says "as of" a class that the block's module knows, what that one says stands there.
    """
    return {name: _markdown(text) for name, text in _members(kind).items()}


def _members(kind: type) -> dict[str, str]:
    found = {}
    section = _docstring(kind).partition("\nMembers:\n")[2]
    for heads, text in _ENTRY.findall(_SECTION.split(section)[0]):
        for name in re.findall(r"\w+", re.sub(r"\([^)]*\)", "", heads)):
            found[name] = _followed(kind, name, " ".join(text.split()))
    return found


def _followed(kind: type, name: str, text: str) -> str:
    elsewhere = _ELSEWHERE.fullmatch(text)
    other = getattr(sys.modules[kind.__module__], elsewhere[2], kind) if elsewhere else kind
    there = _members(other).get(name) if other is not kind else None
    if elsewhere is None or there is None:
        return text
    before, _, behind = elsewhere.groups()
    return f"{before}{': ' if before else ''}{there}{' ' if behind else ''}{behind[:1].upper()}{behind[1:]}"


def payload(shape: ShapeLike, room: str, config: Config) -> str | None:
    """What the payload of that shape is, as Markdown; None if none is.

    Args:
        shape: of the payload.
        room: of the block; payloads of this room and of those below are looked through.
        config: of the block.
    """
    own = next((place for place, name in enumerate(_ROOMS) if name.startswith(room)), len(_ROOMS))
    rooms = _ROOMS[own:]
    for module in (*(f"hw.{each}.payloads" for each in rooms), "hw.payloads"):
        for layout, text in _payloads(importlib.import_module(module), config):
            if layout == shape:
                return _markdown(text)
    return None


def _payloads(module: ModuleType, config: Config) -> Iterator[tuple[data.Layout, str]]:
    """Layouts that a module describes, those of a configuration among them, and what it says of them."""
    arguments = {"config": config, "width": config.memory_bits}
    constants = _constants(module)
    for name, found in vars(module).items():
        text = constants.get(name)
        if inspect.isfunction(found) and found.__module__ == module.__name__ and not name.startswith("_"):
            parameters = inspect.signature(found).parameters.values()
            needed = [one.name for one in parameters if one.default is one.empty]
            text = inspect.getdoc(found)
            found = found(*map(arguments.get, needed)) if arguments.keys() >= {*needed} else None
        if isinstance(found, data.Layout) and text:
            yield found, text


def _constants(module: ModuleType) -> dict[str, str]:
    """What stands below the constants of a module."""
    body = ast.parse(inspect.getsource(module)).body
    found = {}
    for statement, below in itertools.pairwise(body):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(below, ast.Expr):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            found[ast.unparse(target)] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def _docstring(kind: type) -> str:
    return inspect.getdoc(kind) or ""


def _markdown(text: str) -> str:
    return text.replace("``", "`")
