"""Put docstrings into the pages that quote them: ``python docs/docstrings.py``; a test compares them.

A comment ``<!-- docstring golden.weights.layout -->`` stands ahead of each block; a class may be named too.
"""

import importlib
import inspect
import re
from pathlib import Path

from hw.bus import registers

PAGES = Path(__file__).parent
_REGISTERS = re.compile(r"(<!-- registers -->\n)(?:\|.*\n)+")
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


def quoted(page: str) -> str:
    """A page with all its docstrings, and the table of registers, as they are now."""
    page = _BLOCK.sub(lambda block: f"{block[1]}```text\n{docstring(block[2])}\n```\n", page)
    table = registers.markdown().partition("\n\n")[2]
    return _REGISTERS.sub(lambda block: block[1] + table, page)


if __name__ == "__main__":
    for path in sorted(PAGES.rglob("*.md")):
        path.write_text(quoted(path.read_text()))
