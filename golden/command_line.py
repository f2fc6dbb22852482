"""What all command lines share: an error is one line and exit status 2, and no run ends in a traceback."""

import argparse
import functools
import io
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["CALLED", "Parser", "count", "positive", "program", "show"]

CALLED: ContextVar[str | None] = ContextVar("CALLED", default=None)
"""What the user called the program, where that is not ``python -m MODULE``."""

_INTERRUPTED = 130
_BROKEN_PIPE = 141
"""128 and the number of the signal, as a shell reports them."""

_WIDEST = 1000
"""Characters of the widest table."""

_Main = TypeVar("_Main", bound=Callable[..., int])


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit status 2."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prog = CALLED.get() or self.prog

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def program(main: _Main) -> _Main:
    """The main function of a program: it ends quietly however the user ends it.

    Ctrl-C is one line and exit status 130; a reader that has gone (``| head``) is exit status 141 without a
    word; what a terminal has no letters for is a question mark.
    """

    @functools.wraps(main)
    def guarded(*arguments: Any) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            try:
                return main(*arguments)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            print(f"{_name(main)}: interrupted", file=sys.stderr)
            return _INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
            return _BROKEN_PIPE

    return guarded  # type: ignore[return-value]


def _name(main: Callable[..., int]) -> str:
    module = main.__globals__["__spec__"].name.removesuffix(".__main__")
    return CALLED.get() or f"python -m {module}"


def show(table: Table, piped: int | None = None) -> None:
    """Print a table; it is wider than the terminal rather than that a name is broken.

    Args:
        table: what to show.
        piped: characters of a line where the output is no terminal.
    """
    console = Console(width=None if sys.stdout.isatty() else piped)
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).minimum
    console.width = max(console.width, needed)
    console.print(table)


def count(number: int, thing: str) -> str:
    """So many things: "1 layer", "2 layers"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def positive(text: str) -> int:
    """An argument that is an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer of at least 1")
    return int(text)
