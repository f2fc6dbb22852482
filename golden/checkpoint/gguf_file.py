"""GGUF models, in one file or split: places of tensors become ``Tensor``.

The converter of llama models interleaves the rows of query and key weights (and biases) for the rotary
embedding; here they are put back into two halves a head.
"""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from golden import optional
from golden.checkpoint.gguf_blocks import BLOCKS
from golden.checkpoint.tensor import Checkpoint, Tensor
from golden.weights.stored import Stored

if TYPE_CHECKING:
    from golden.checkpoint.gguf_reader import Entry, File

__all__ = ["read"]

_PLAIN = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_INTERLEAVED = {"attn_q": "", "attn_k": "_kv"}

Order = NDArray[np.intp] | None


def read(path: Path) -> Checkpoint:
    """Read a model, from its only file or from any part of a split one.

    Raises:
        ValueError: malformed, or a part is missing; the message names the file.
        MissingPart: the library is not installed.
    """
    optional.GGUF.need("a GGUF file")
    files = _parts(importlib.import_module("golden.checkpoint.gguf_reader").File, path)
    metadata: dict[str, Any] = {}
    for file in reversed(files):
        metadata |= file.metadata
    entries = [(file.path, entry) for file in files for entry in file.entries]
    places: dict[str, tuple[Path, Entry]] = {}
    for where, entry in entries:
        if entry.name in places:
            raise ValueError(f"{where}: tensor {entry.name} must not be in {places[entry.name][0].name} too")
        places[entry.name] = (where, entry)
    factors = {
        name: factor
        for name, (_, entry) in places.items()
        if entry.kind == "NVFP4" and (factor := f"{name.removesuffix('.weight')}.scale") in places
    }
    tensors = (
        _tensor(*places[name], _order(path, entry, metadata), places.get(factors.get(name, "")))
        for name, (_, entry) in places.items()
        if name not in factors.values()
    )
    return Checkpoint(path, "gguf", metadata, tuple(tensors), tuple(file.path for file in files))


def _parts(open_file: "type[File]", path: Path) -> "list[File]":
    """The files of a model in their order."""
    first = open_file(path)
    count = first.metadata.get("split.count", 0)
    if count < 2:
        return [first]
    match = _PART.search(path.name)
    if match is None or int(match[2]) != count:
        raise ValueError(f"{path}: name must end in -00001-of-{count:05}.gguf or so, as a part of {count}")
    files = []
    for number in range(count):
        other = path.with_name(path.name[: match.start()] + f"-{number + 1:05}-of-{count:05}.gguf")
        if not other.is_file():
            raise ValueError(f"{path}: part {number + 1} of {count} is missing, it must be at {other}")
        file = open_file(other)
        if (found := (file.metadata.get("split.no"), file.metadata.get("split.count"))) != (number, count):
            raise ValueError(f"{other}: split.no and split.count {found} must be {(number, count)}")
        files.append(file)
    total, found = files[0].metadata.get("split.tensors.count"), sum(len(file.entries) for file in files)
    if total is not None and total != found:
        raise ValueError(
            f"{path}: its {count} parts have {found} tensors, must be {total} (split.tensors.count)"
        )
    return files


def _order(path: Path, entry: "Entry", metadata: dict[str, Any]) -> Order:
    """Order in which the rows of a tensor are taken, or None for their own."""
    *place, part, _ = ("", "", *entry.name.split("."))
    suffix = _INTERLEAVED.get(part)
    rank, outputs = len(entry.shape), next(iter(entry.shape), 1)
    if metadata.get("general.architecture") != "llama" or suffix is None or rank > 2:
        return None
    key = "llama.attention.head_count"
    heads = metadata.get(key + suffix, metadata.get(key))
    if isinstance(heads, list) and place[-1].isdecimal() and int(place[-1]) < len(heads):
        heads = heads[int(place[-1])]
    if not isinstance(heads, int) or heads < 1 or outputs % (2 * heads):
        raise ValueError(f"{path}: {key + suffix} {heads!r} must divide half of the {outputs} rows")
    return np.arange(outputs).reshape(heads, -1, 2).swapaxes(1, 2).ravel()


def _tensor(path: Path, entry: "Entry", order: Order, factor: "tuple[Path, Entry] | None") -> Tensor:
    """A tensor; one of three dimensions also gives its matrices one by one."""
    multipliers = _bytes(*factor).view("<f4") if factor else np.ones(1, np.float32)
    parts = (entry.name, factor[1].name) if factor else (entry.name,)
    count, *shape = entry.shape or (1,)
    if len(shape) != 2:
        return _matrix(path, entry, order, multipliers[0], parts)
    size = entry.size // max(count, 1)
    multipliers = np.broadcast_to(multipliers, count)

    def expert(number: int) -> Tensor:
        own = {"name": f"{entry.name}[{number}]", "shape": tuple(shape), "size": size}
        place = entry._replace(start=entry.start + number * size, **own)
        return _matrix(path, place, None, multipliers[number], ())

    blocks = entry.elements > 1
    return Tensor(entry.name, entry.shape, entry.kind, "", expert=expert, parts=parts, blocks=blocks)


def _matrix(
    path: Path, entry: "Entry", order: Order, multiplier: np.float32, parts: tuple[str, ...]
) -> Tensor:
    def rows() -> NDArray[np.uint8]:
        alone = len(entry.shape) < 2 and entry.elements == 1
        inputs = 1 if alone else tuple(entry.shape)[-1]
        width = max(inputs // entry.elements * entry.block, 1)
        data = _bytes(path, entry).reshape(-1, width)
        return data if order is None else data[order]

    def values() -> NDArray:
        if entry.kind in _PLAIN:
            return rows().view(_PLAIN[entry.kind])
        if entry.kind == "BF16":
            return (rows().view("<u2").astype(np.uint32) << 16).view(np.float32)
        library = importlib.import_module("golden.checkpoint.gguf_reader")
        return library.dequantized(rows(), entry.kind)

    def codes() -> Stored:
        data = rows()
        return BLOCKS[entry.kind](data.reshape(len(data), -1, entry.block))

    known = entry.kind in BLOCKS
    return Tensor(
        entry.name,
        entry.shape,
        entry.kind,
        "",
        read=None if known else values,
        codes=codes if known else None,
        multiplier=multiplier,
        parts=parts,
        blocks=entry.elements > 1,
    )


def _bytes(path: Path, entry: "Entry") -> NDArray[np.uint8]:
    """A tensor's bytes, in memory of its own."""
    data = np.fromfile(path, np.uint8, entry.size, offset=entry.start)
    if len(data) != entry.size:
        raise ValueError(f"{path}: tensor {entry.name} has {len(data)} bytes, must have {entry.size}")
    return data
