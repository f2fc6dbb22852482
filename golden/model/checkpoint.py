"""Checkpoints: read the tensors of a model file one at a time.

* **GGUF** (versions 2 and 3; F32, F16, BF16, Q4_1, Q8_0). Its converter interleaves the rows of a llama
  model's query and key weights for the rotary embedding; here they are put back into two halves a head.
* **llama2.c** ``.bin``: seven integers, then float32 matrices in a fixed order; rows stay as they are.
* **safetensors** (F32, F16, BF16; whole-number tensors are passed on).

Files are mapped: a tensor costs memory only while its array lives. A malformed file is a ``ValueError`` that
names the file, the field, its value and what is allowed.
"""

import hashlib
import importlib.util
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import optional

__all__ = ["Checkpoint", "Tensor", "locate", "open_checkpoint"]

_PACKAGED = ("smollm2",)
_NOT_LINEAR = ("embd", "embed", "norm", "wte", "wpe")


# Tensor types: elements and bytes of a block, and the NumPy type if there is one.
_KINDS: dict[str, tuple[int, int, str | None]] = {
    "F32": (1, 4, "<f4"),
    "F16": (1, 2, "<f2"),
    "BF16": (1, 2, None),
    "Q4_1": (32, 20, None),
    "Q8_0": (32, 34, None),
    "F64": (1, 8, "<f8"),
    **{f"{sign}{8 * n}": (1, n, f"<{sign.lower()}{n}") for sign in "IU" for n in (1, 2, 4, 8)},
    "BOOL": (1, 1, "?"),
}
_GGUF_KINDS = {0: "F32", 1: "F16", 3: "Q4_1", 8: "Q8_0", 30: "BF16"}
_GGUF_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_GGUF_STRING, _GGUF_ARRAY = 8, 9


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a file.

    Attributes:
        name: its name in the file.
        shape: its shape, outputs before inputs.
        kind: its type in the file, e.g. ``Q4_1``.
        linear: a matrix of weights that a linear layer multiplies by; embeddings and norms are not.
        raw: its bytes ``[rows, bytes of a row]``, mapped.
        order: order in which to take the rows, or None for their own.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    linear: bool
    raw: NDArray[np.uint8]
    order: NDArray[np.intp] | None = None

    def rows(self) -> NDArray[np.uint8]:
        """The tensor's bytes in memory, ``[rows, bytes of a row]``, rows in their final order."""
        return np.array(self.raw) if self.order is None else self.raw[self.order]

    def array(self) -> NDArray[np.float32]:
        """The tensor as float32, exact for every type up to 32 bits."""
        if self.kind == "BF16":
            return (self.rows().view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
        if self.kind == "Q4_1":
            scale, minimum, codes = self.q4_1()
            return (codes * scale[..., None] + minimum[..., None]).reshape(self.shape)
        if self.kind == "Q8_0":
            blocks = self.rows().reshape(len(self.raw), -1, 34)
            scale = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
            return (blocks[..., 2:].view(np.int8) * scale).reshape(self.shape)
        return self.stored().astype(np.float32, copy=False)

    def q4_1(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray]:
        """Scale and minimum ``[rows, D]`` and codes 0..15 ``[rows, D, 32]``: weight = scale * code + minimum.

        A block is two fp16, then 16 bytes whose low nibbles are elements 0..15, high nibbles 16..31.
        """
        blocks = self.rows().reshape(len(self.raw), -1, 20)
        header = np.ascontiguousarray(blocks[..., :4]).view("<f2").astype(np.float32)
        codes = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], axis=-1)
        return header[..., 0], header[..., 1], codes

    def stored(self) -> NDArray:
        """The tensor in its own type where NumPy has that, else float32 for BF16, float16 for block types."""
        elements, _, dtype = _KINDS[self.kind]
        if dtype is None:
            return self.array().astype(np.float32 if elements == 1 else np.float16)
        return self.rows().view(dtype).reshape(self.shape)


@dataclass(frozen=True)
class Checkpoint:
    """A model file: its path, its format, its metadata as found there, and its tensors in their order."""

    path: Path
    format: str
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes, read when it is first asked for."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def linears(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Name and float32 ``[outputs, inputs]`` of every linear layer, one by one."""
        return ((tensor.name, tensor.array()) for tensor in self.tensors if tensor.linear)

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name."""
        return {tensor.name: tensor for tensor in self.tensors}[name]


def locate(model: str) -> Path:
    """Find a model: the path of a file, or ``smollm2`` for the one that its optional package carries.

    Raises:
        ValueError: no such file, or the package is not installed.
    """
    if model not in _PACKAGED:
        if Path(model).is_file():
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
    """Open a model file.

    Raises:
        ValueError: not a file of a known format, or malformed.
        OSError: the file cannot be read.
    """
    with (path := Path(path)).open("rb") as file:
        magic = file.read(4)
    readers = {".gguf": _gguf, ".bin": _llama2c, ".safetensors": _safetensors}
    reader = _gguf if magic == b"GGUF" else readers.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path}: suffix {path.suffix!r} must be one of {', '.join(readers)}")
    data = np.memmap(path, np.uint8, "r") if magic else np.zeros(0, np.uint8)
    return reader(_File(path, data))


@dataclass
class _File:
    """A mapped file, read from front to back."""

    path: Path
    data: NDArray[np.uint8]
    position: int = 0

    def error(self, what: str) -> ValueError:
        return ValueError(f"{self.path}: {what}")

    def take(self, size: int) -> NDArray[np.uint8]:
        """The next ``size`` bytes."""
        self.position += size
        if self.position > len(self.data):
            raise self.error(f"size {len(self.data)} bytes must be at least {self.position}")
        return self.data[self.position - size : self.position]

    def numbers(self, form: str) -> tuple:
        """Little-endian numbers by their ``struct`` letters."""
        try:
            return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)).tobytes())
        except struct.error:
            raise self.error(f"size {len(self.data)} bytes is too small for an array of {form}") from None

    def text(self) -> str:
        """A string after its 64-bit length."""
        (length,) = self.numbers("Q")
        return self.take(length).tobytes().decode("utf-8", "replace")

    def tensor(
        self, name: str, shape: tuple[int, ...], kind: str, start: int, linear: bool | None = None
    ) -> Tensor:
        """The tensor whose bytes begin at ``start``; by default its shape and name tell if it is linear."""
        elements, size, dtype = _KINDS[kind]
        inputs = shape[-1] if shape else 1
        if inputs % elements or min(shape, default=1) < 1 or start < 0:
            raise self.error(f"tensor {name} shape {shape} must be positive, rows a multiple of {elements}")
        self.position = start
        raw = self.take(math.prod(shape) // elements * size).reshape(-1, inputs // elements * size)
        if linear is None:
            real = dtype is None or dtype[1] == "f"
            linear = real and len(shape) == 2 and min(shape) > 1 and name.endswith("weight")
            linear = linear and not any(part in name.lower() for part in _NOT_LINEAR)
        return Tensor(name, shape, kind, linear, raw)


def _gguf(file: _File) -> Checkpoint:
    """Read GGUF (specified in the ggml repository)."""
    magic, version, tensor_count, pair_count = file.numbers("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise file.error(f"magic {magic!r}, version {version} must be b'GGUF', 2 or 3")
    metadata: dict[str, Any] = {}
    for _ in range(pair_count):
        key = file.text()
        metadata[key] = _gguf_value(file, key, *file.numbers("I"))
    entries = []
    for _ in range(tensor_count):
        name = file.text()
        (rank,) = file.numbers("I")
        if rank > 4:
            raise file.error(f"tensor {name} has rank {rank}, must be 0..4")
        shape = tuple(reversed(file.numbers(f"{rank}Q")))
        number, offset = file.numbers("IQ")
        if number not in _GGUF_KINDS:
            allowed = ", ".join(f"{key} ({value})" for key, value in _GGUF_KINDS.items())
            raise file.error(f"tensor {name} has type {number}, must be one of {allowed}")
        entries.append((name, shape, _GGUF_KINDS[number], offset))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise file.error(f"general.alignment {alignment!r} must be a positive integer")
    base = -(-file.position // alignment) * alignment
    tensors = [file.tensor(name, shape, kind, base + offset) for name, shape, kind, offset in entries]
    return Checkpoint(
        file.path, "gguf", metadata, tuple(_halves(file, tensor, metadata) for tensor in tensors)
    )


def _gguf_value(file: _File, key: str, kind: int) -> Any:
    """A metadata value; arrays of numbers become tuples, of strings lists."""
    if kind in _GGUF_SCALARS:
        return file.numbers(_GGUF_SCALARS[kind])[0]
    if kind == _GGUF_STRING:
        return file.text()
    if kind != _GGUF_ARRAY:
        raise file.error(f"{key} has type {kind}, must be 0..12")
    element, count = file.numbers("IQ")
    if element == _GGUF_STRING:
        return [file.text() for _ in range(count)]
    if element not in _GGUF_SCALARS:
        raise file.error(f"{key} is an array of type {element}, must be of strings or numbers")
    return file.numbers(f"{count}{_GGUF_SCALARS[element]}")


def _halves(file: _File, tensor: Tensor, metadata: dict[str, Any]) -> Tensor:
    """Undo the interleaving of a llama model's query and key rows."""
    suffix = {"attn_q.weight": "", "attn_k.weight": "_kv"}.get(".".join(tensor.name.split(".")[-2:]))
    if metadata.get("general.architecture") != "llama" or suffix is None or len(tensor.shape) != 2:
        return tensor
    key = "llama.attention.head_count"
    heads = metadata.get(key + suffix, metadata.get(key))
    if not isinstance(heads, int) or heads < 1 or tensor.shape[0] % (2 * heads):
        raise file.error(f"{key + suffix} {heads!r} must divide half of the {tensor.shape[0]} rows")
    order = np.arange(tensor.shape[0]).reshape(heads, -1, 2).swapaxes(1, 2).ravel()
    return replace(tensor, order=order)


def _llama2c(file: _File) -> Checkpoint:
    """Read the first ("legacy") format of llama2.c, version 0 of its export script."""
    fields = ("dim", "hidden_dim", "layers", "heads", "kv_heads", "vocab", "context")
    sizes: dict[str, Any] = dict(zip(fields, file.numbers("7i"), strict=True))
    shared, sizes["vocab"] = sizes["vocab"] > 0, abs(sizes["vocab"])
    dim, hidden, layers, heads, kv_heads, vocab, context = sizes.values()
    if min(sizes.values()) < 1 or dim % heads or heads % kv_heads:
        raise file.error(f"header {sizes} must be positive, dim a multiple of heads, heads of kv_heads")
    kv = dim // heads * kv_heads
    stacks = [("attention_norm", (dim,)), ("wq", (dim, dim)), ("wk", (kv, dim)), ("wv", (kv, dim))]
    stacks += [("wo", (dim, dim)), ("ffn_norm", (dim,)), ("w1", (hidden, dim)), ("w2", (dim, hidden))]
    stacks += [("w3", (hidden, dim))]
    plan = [("tok_embeddings", (vocab, dim), False)]
    plan += [(f"layers.{n}.{name}", shape, len(shape) == 2) for name, shape in stacks for n in range(layers)]
    plan += [("norm", (dim,), False), ("rotary", (2, context, dim // heads // 2), False)]
    plan += [] if shared else [("output", (vocab, dim), True)]
    size = 28 + 4 * sum(math.prod(shape) for _, shape, _ in plan)
    if len(file.data) != size:
        raise file.error(f"size {len(file.data)} bytes must be {size} for header {sizes}")
    tensors = [file.tensor(name, shape, "F32", file.position, linear) for name, shape, linear in plan]
    return Checkpoint(file.path, "llama2.c", sizes, tuple(tensors))


def _safetensors(file: _File) -> Checkpoint:
    """Read safetensors: a 64-bit length, a JSON header of that many bytes, the data."""
    try:
        header = json.loads(file.take(*file.numbers("Q")).tobytes())
        metadata = header.pop("__metadata__", {})
        entries = [
            (name, tuple(map(int, entry["shape"])), str(entry["dtype"]), int(entry["data_offsets"][0]))
            for name, entry in header.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise file.error(f"header must be the JSON of a safetensors file ({error})") from None
    for name, _, kind, _ in entries:
        if kind not in _KINDS:
            raise file.error(f"tensor {name} has type {kind!r}, must be one of {', '.join(_KINDS)}")
    base = file.position
    tensors = [file.tensor(name, shape, kind, base + offset) for name, shape, kind, offset in entries]
    return Checkpoint(file.path, "safetensors", metadata, tuple(tensors))
