"""Put docstrings into the pages that quote them: ``python docs/docstrings.py``; a test compares them.

A comment ``<!-- docstring golden.weights.layout -->`` stands ahead of each block; a class may be named too.
"""

import importlib
import inspect
import re
from pathlib import Path

from golden.core import commands, state
from golden.core.commands import Field
from hw.bus import registers
from hw.core import registers as core_registers

PAGES = Path(__file__).parent
_TABLE = re.compile(r"(<!-- table (\w+) -->\n)(?:\|.*\n)*")
_BLOCK = re.compile(r"(<!-- docstring ([\w.]+) -->\n)```text\n.*?\n```\n", re.S)


def docstring(name: str) -> str:
    """The docstring of a module, or of what a module holds."""
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(module), last)
    text = inspect.getdoc(found)
    if text is None:
        raise ValueError(f"{name} must have a docstring")
    return text


def _marked(text: str) -> str:
    """A docstring's marks as Markdown has them."""
    return text.replace("``", "`")


def fields(*owners: tuple[str, tuple[Field, ...]]) -> str:
    """A table of the fields of words, owner by owner."""
    lines = ["| of | field | word | bits | meaning |", "|" + "---|" * 5]
    for owner, own in owners:
        for field in own:
            high = field.low + field.width - 1
            bits = f"{high}:{field.low}" if field.width > 1 else str(field.low)
            lines.append(f"| {owner} | `{field.name}` | {field.word} | {bits} | {_marked(field.doc)} |")
    return "\n".join([*lines, ""])


def operations() -> str:
    """The operations of the core."""
    lines = ["| number | operation | what it does |", "|" + "---|" * 3]
    lines += [
        f"| {each.opcode.value} | `{each.opcode.name}` | {_marked(each.doc)} |"
        for each in commands.OPERATIONS
    ]
    return "\n".join([*lines, ""])


TABLES = {
    "registers": lambda: registers.markdown().partition("\n\n")[2],
    "core_registers": lambda: core_registers.markdown().partition("\n\n")[2],
    "operations": operations,
    "commands": lambda: fields(
        ("all", commands.COMMON),
        *((each.opcode.name, each.fields) for each in commands.OPERATIONS),
    ),
    "state": lambda: fields(("sequence", state.SEQUENCE), ("KV head", state.HEAD), ("record", state.RECORD)),
}


def quoted(page: str) -> str:
    """A page with all its docstrings and tables as they are now."""
    page = _BLOCK.sub(lambda block: f"{block[1]}```text\n{docstring(block[2])}\n```\n", page)
    return _TABLE.sub(lambda block: block[1] + TABLES[block[2]](), page)


if __name__ == "__main__":
    for path in sorted(PAGES.rglob("*.md")):
        path.write_text(quoted(path.read_text()))
