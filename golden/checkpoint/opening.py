"""Open a model, whatever its format: one row of ``_READERS`` a format."""

from collections.abc import Callable
from pathlib import Path

from golden.checkpoint import gguf_file, hugging_face, llama2c, packaged, roles
from golden.checkpoint.tensor import Checkpoint

__all__ = ["locate", "open_checkpoint"]

_PACKAGED = {"smollm2": "*.gguf"}
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
    return packaged.find(model, _PACKAGED)


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
