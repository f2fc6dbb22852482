"""Results on disk: one file each, found again only by all that decided about it.

    kept = Results(folder, subject)
    result = kept.read(setting)      # None where it was never measured
    kept.write(result)

The key of a result holds what the subject is made of (bytes of the model, ids or samples that it reads and is
calibrated with), the setting with the definitions behind its names, and the versions of the package, of NumPy
and of the sources of ``golden``. Its hash is in the file's name, and the key itself lies in the file.
"""

import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from golden.model.evaluation import Result, Setting, Subject

__all__ = ["Damaged", "Results", "versions"]

_REPORTS = ("pictures.py", "tables.py")
"""Sources that only show results."""


class Damaged(ValueError):
    """A file of a result cannot be read back; the message names it."""


@dataclass(frozen=True)
class _Cell:
    """What a file holds."""

    key: dict[str, Any]
    result: Result


_CELL = TypeAdapter(_Cell)


@dataclass(frozen=True)
class Results:
    """The results of one subject in a folder, which is made when the first one is written."""

    folder: Path
    subject: Subject

    def key(self, setting: Setting) -> dict[str, Any]:
        """All that decides about a result, as plain data."""
        content = self.subject.identity(setting) | setting.definition | {"versions": versions()}
        return json.loads(json.dumps(content))

    def path(self, setting: Setting) -> Path:
        """The file of a setting."""
        text = json.dumps(self.key(setting), sort_keys=True)
        return self.folder / f"{setting.name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"

    def read(self, setting: Setting) -> Result | None:
        """The result of a setting; None if there is no file.

        Raises:
            Damaged: the file is not what ``write`` left.
            OSError: it cannot be read at all.
        """
        path = self.path(setting)
        try:
            cell = _CELL.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Damaged(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from None
        if (cell.key, cell.result.setting) != (self.key(setting), setting):
            raise Damaged(f"{path}: its key is not that of its name")
        if len(cell.result.windows) != len(self.subject):
            raise Damaged(f"{path}: {len(cell.result.windows)} windows must be {len(self.subject)}")
        return cell.result

    def write(self, result: Result) -> None:
        """Keep a result; its file appears only when it is complete."""
        path = self.path(result.setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(asdict(_Cell(self.key(result.setting), result)), indent=1))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@cache
def versions() -> dict[str, str]:
    """Versions of the package and of NumPy, and a hash of the sources that numbers depend on."""
    try:
        package = importlib.metadata.version("kvloom")
    except importlib.metadata.PackageNotFoundError:
        package = "not installed"
    sources, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.glob("*/**/*.py")):
        if path.name not in _REPORTS:
            sources.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return {"kvloom": package, "numpy": np.__version__, "sources": sources.hexdigest()}
