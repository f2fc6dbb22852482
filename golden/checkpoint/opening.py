"""Open a model, whatever its format: one row of ``_READERS`` a format."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from golden import optional
from golden.checkpoint import gguf_file, hugging_face, llama2c, roles
from golden.checkpoint.tensor import Checkpoint

__all__ = ["locate", "open_checkpoint"]

_PACKAGED = ("smollm2",)
_READERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".gguf": gguf_file.read,
    ".bin": llama2c.read,
    ".safetensors": hugging_face.read,
    hugging_face.INDEX: hugging_face.read,
}


def locate(model: str) -> Path:
    """Find a model: the path of a file or folder, or ``smollm2`` for what its optional package carries.

    Raises:
        ValueError: no such file, or the package is not installed.
    """
    if model not in _PACKAGED:
        if Path(model).exists():
            return Path(model)
        raise ValueError(f"model {model!r} must be an existing file or one of {', '.join(_PACKAGED)}")
    part = optional.MODELS[model]
    package = importlib.util.find_spec(part.modules[0])  # not imported: that would need a C++ runtime
    folders = (package and package.submodule_search_locations) or ()
    found = [path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise optional.MissingPart(part.missing(f"model {model!r}"))
    return found[0]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a model: a file, a folder of Hugging Face, an index of shards, or one part of several.

    Raises:
        ValueError: not of a known format, malformed, or a part is missing.
        OSError: a file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return roles.assign(hugging_face.read(path))
    with path.open("rb") as file:
        magic = file.read(4)
    reader = next((read for ending, read in _READERS.items() if path.name.endswith(ending)), None)
    if magic == b"GGUF":
        reader = gguf_file.read
    if reader is None:
        raise ValueError(f"{path}: suffix {path.suffix!r} must be one of {', '.join(_READERS)}")
    return roles.assign(reader(path))
