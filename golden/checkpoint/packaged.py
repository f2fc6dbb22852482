"""Models by name: a path, or what an optional package carries."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from golden import optional

__all__ = ["find"]


def find(model: str, patterns: Mapping[str, str], exists: Callable[[Path], bool] = Path.exists) -> Path:
    """Find a model.

    Args:
        model: a path, or one of the names in ``patterns``.
        patterns: where a package has its file, by the model's name; the package is not imported for that.
        exists: what a path must be.

    Raises:
        ValueError: no such path, or the package is not installed.
    """
    if model not in patterns:
        if exists(Path(model)):
            return Path(model)
        raise ValueError(f"model {model!r} must be an existing file or one of {', '.join(patterns)}")
    part = optional.MODELS[model]
    package = importlib.util.find_spec(part.modules[0])
    folders = (package and package.submodule_search_locations) or ()
    found = [path for folder in folders for path in sorted(Path(folder).glob(patterns[model]))]
    if not found:
        raise optional.MissingPart(part.missing(f"model {model!r}"))
    return found[0]
