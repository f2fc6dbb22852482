"""CTranslate2's ``model.bin``, versions 5 and 6: tensors after a short header.

    u32 version, string specification, u32 revision, u32 count, then for every tensor:
    string name, u8 rank, u32 sizes, u8 type, u32 bytes, data

A string is its length as u16 and its characters with a final 0, which the length includes. Numbers are
little-endian. What follows the tensors (other names of the same ones) is not read.
"""

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from golden.checkpoint import packaged
from golden.checkpoint.tensor import LINEAR, Checkpoint, Tensor

__all__ = ["locate", "read"]

_KINDS = {0: ("F32", "<f4"), 1: ("I8", "i1"), 2: ("I16", "<i2"), 3: ("I32", "<i4"), 4: ("F16", "<f2")}
_PACKAGED = {"whisper-tiny.en": "model/model.bin"}


def locate(model: str) -> Path:
    """Find a model: the path of a file, or ``whisper-tiny.en`` for the one of its optional package.

    Raises:
        ValueError: no such file, or the package is not installed.
    """
    return packaged.find(model, _PACKAGED, Path.is_file)


def read(path: Path) -> Checkpoint:
    """Read a model file; its metadata are ``specification`` and ``revision``.

    Raises:
        ValueError: not such a file, or cut short.
        OSError: the file cannot be read.
    """
    data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    place = 0

    def take(size: int) -> np.ndarray:
        nonlocal place
        place += size
        if place > len(data):
            raise ValueError(f"{path}: size {len(data)} bytes must be at least {place}")
        return data[place - size : place]

    def numbers(form: str) -> tuple[int, ...]:
        return struct.unpack("<" + form, take(struct.calcsize("<" + form)).tobytes())

    def text() -> str:
        return take(*numbers("H")).tobytes().rstrip(b"\0").decode("utf-8", "replace")

    (version,) = numbers("I")
    if version not in (5, 6):
        raise ValueError(f"{path}: version {version} must be 5 or 6")
    specification = text()
    revision, count = numbers("II")
    tensors = []
    for _ in range(count):
        name = text()
        shape = numbers(f"{numbers('B')[0]}I")
        number, size = numbers("BI")
        kind, dtype = _KINDS.get(number, ("", "V0"))
        if size != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"{path}: tensor {name} of type {number} and shape {shape} has {size} bytes")
        linear = name.rpartition("/")[0][:-1].endswith("linear_") and name.endswith("weight")
        role = LINEAR if linear else "no linear layer"
        tensors.append(Tensor(name, shape, kind, role, _reader(path, dtype, place, size), parts=(name,)))
        take(size)
    metadata = {"specification": specification, "revision": revision}
    return Checkpoint(path, "ctranslate2", metadata, tuple(tensors))


def _reader(path: Path, dtype: str, place: int, size: int) -> Callable[[], np.ndarray]:
    return lambda: np.fromfile(path, dtype, size // np.dtype(dtype).itemsize, offset=place)
