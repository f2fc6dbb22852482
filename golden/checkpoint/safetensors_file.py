"""safetensors files, one or the shards of a model: where each tensor's bytes lie, and reading them.

The library reads and checks the headers. It has no NumPy types for BF16 and smaller floats and keeps files
mapped, so the bytes are read here, a tensor at a time: its names come in the order of the data, which it has
checked to be without gaps.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

__all__ = ["FLOATS", "Place", "Shards", "load_json", "siblings"]

FLOATS = ("F16", "BF16", "F32", "F64")
"""Types of real numbers that are read as such."""

_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?", "BF16": "<u2", "C64": "<c8"},
    **{f"{sign}{8 * n}": f"<{sign.lower()}{n}" for sign in "IU" for n in (1, 2, 4, 8)},
}
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True)
class Place:
    """A tensor's type, shape and bytes in a file."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    size: int

    def read(self, expert: int | None = None) -> NDArray:
        """Its values, or those of one entry of its first axis.

        BF16 becomes float32; types that NumPy does not have are bytes.
        """
        shape, start, size = self.shape, self.start, self.size
        if expert is not None:
            shape, size = shape[1:], size // shape[0]
            start += expert * size
        data = np.fromfile(self.path, np.uint8, size, offset=start)
        if len(data) != size:
            raise ValueError(f"{self.path}: {len(data)} bytes at {start} must be {size}")
        if self.kind in _BITS:
            return data
        values = data.view(_TYPES.get(self.kind, "u1")).reshape(shape)
        return (values.astype(np.uint32) << 16).view(np.float32) if self.kind == "BF16" else values


@dataclass(frozen=True)
class Shards:
    """The files of a model: tensors by name in the order of the files, and the metadata of all headers."""

    places: dict[str, Place]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Shards":
        """Read the headers.

        Raises:
            ValueError: malformed, or two files have a tensor of one name; the message names the file.
        """
        places: dict[str, Place] = {}
        metadata: dict[str, Any] = {}
        for path in paths:
            found, pairs = _header(path)
            if twice := places.keys() & found.keys():
                name = min(twice)
                raise ValueError(f"{path}: tensor {name} must not be in {places[name].path.name} too")
            places |= found
            metadata |= pairs
        return cls(places, metadata)


def _header(path: Path) -> tuple[dict[str, Place], dict[str, str]]:
    try:
        with path.open("rb") as raw, safe_open(path, "numpy") as file:
            start = 8 + int.from_bytes(raw.read(8), "little")
            metadata, places = file.metadata() or {}, {}
            for name in file.offset_keys():
                view = file.get_slice(name)
                kind, shape = view.get_dtype(), tuple(view.get_shape())
                bits = _BITS.get(kind) or 8 * np.dtype(_TYPES.get(kind, "u1")).itemsize
                places[name] = Place(path, kind, shape, start, math.prod(shape) * bits // 8)
                start += places[name].size
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}") from None
    if start != path.stat().st_size:
        raise ValueError(f"{path}: size {path.stat().st_size} bytes must be {start}")
    return places, metadata


def siblings(path: Path) -> list[Path]:
    """All shards of a model from the name of one, e.g. ``model-00002-of-00003.safetensors``; or just it.

    Raises:
        ValueError: a shard is missing.
    """
    match = _PART.search(path.name)
    if match is None:
        return [path]
    count, stem = int(match[2]), path.name[: match.start()]
    paths = [path.with_name(f"{stem}-{number + 1:05}-of-{match[2]}.safetensors") for number in range(count)]
    for number, shard in enumerate(paths):
        if not shard.is_file():
            raise ValueError(f"{path}: part {number + 1} of {count} is missing, it must be at {shard}")
    return paths


def load_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        ValueError: not JSON, or no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must be a JSON object, not {type(value).__name__}")
    return value
