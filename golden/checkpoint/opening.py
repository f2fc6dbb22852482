"""Open a model, whatever its format: one row of ``_READERS`` a format."""

import os
from collections.abc import Callable
from pathlib import Path

from golden.checkpoint import gguf_file, hugging_face, llama2c, packaged, roles
from golden.checkpoint.tensor import Checkpoint

__all__ = ["locate", "open_checkpoint"]

_PACKAGED = {"smollm2": "*.gguf"}
_STORIES = "stories260k"
_STORIES_FILE = Path("stories260K", "stories260K.bin")
_READERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".gguf": gguf_file.read,
    ".bin": llama2c.read,
    ".safetensors": hugging_face.read,
    hugging_face.INDEX: hugging_face.read,
}


def locate(model: str) -> Path:
    """Find a model: the path of a file or folder, or a name.

    ``smollm2`` is what its optional package carries. ``stories260k``, the smallest model of llama2.c, lies in
    the folder ``stories260K``, with its tokenizer ``tok512.bin`` beside it: in the present folder, or in
    ``data`` of the one that the environment variable KVLOOM_SHARED names.

    Raises:
        ValueError: no such file, or the package is not installed.
    """
    if model == _STORIES:
        folders = (Path(), Path(os.environ.get("KVLOOM_SHARED", "")) / "data")
        found = [folder / _STORIES_FILE for folder in folders if (folder / _STORIES_FILE).is_file()]
        if not found:
            raise ValueError(
                f"model {model!r} must lie in {_STORIES_FILE}, in this folder or in data of KVLOOM_SHARED:"
                " stories260K.bin and tok512.bin of huggingface.co/karpathy/tinyllamas"
            )
        return found[0]
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
