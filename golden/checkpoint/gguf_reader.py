"""One GGUF file through the ``gguf`` library, with what the library does not check.

The library's reader takes lengths and offsets as they come; here each read ends within the file, and every
tensor has a known type, whole blocks and bytes of its own. That replaces two inner methods of the library, so
its version is pinned.
"""

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, ReaderField, dequantize
from numpy.typing import NDArray

__all__ = ["Entry", "File", "dequantized"]

_YOUNGER = {42: ("Q2_0", 64, 18)}
"""Types that the library does not know yet: number to name, elements and bytes of a block."""

_FORKED = {"Q2_0": (128, 34)}
"""Elements and bytes of a block in files whose tensors would overlap with the usual ones (Ternary Bonsai)."""


class Entry(NamedTuple):
    """A tensor's place: its type with elements and bytes of a block, and its bytes in the file."""

    name: str
    shape: tuple[int, ...]
    kind: str
    elements: int
    block: int
    start: int
    size: int


@cache
def _kinds() -> dict[int, tuple[str, int, int]]:
    known = {int(kind): (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    return known | _YOUNGER


def dequantized(rows: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """Rows of blocks as float32 by the library.

    Raises:
        ValueError: the library cannot.
    """
    try:
        return dequantize(rows, GGMLQuantizationType[kind])
    except (KeyError, NotImplementedError):
        raise ValueError(f"type {kind} has no dequantisation in the gguf library") from None


class File(GGUFReader):
    """A GGUF file: its metadata, and its tensors' places.

    Raises:
        ValueError: big-endian, malformed or cut short; the message names the file, the field and what is
            allowed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.entries = path, []
        try:
            if path.stat().st_size < 24:
                raise ValueError(f"size {path.stat().st_size} bytes must be at least 24")
            super().__init__(path)
        except (ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
            text = error.args[0] if isinstance(error, KeyError) else error
            raise ValueError(f"{path}: {text}") from None
        self.metadata = {
            name: _contents(field) for name, field in self.fields.items() if not name.startswith("GGUF.")
        }

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: str | None = None) -> NDArray:
        if self.byte_order == "S":
            raise ValueError("byte order big-endian must be little-endian")
        kind, count = np.dtype(dtype), int(count)
        end = offset + kind.itemsize * count
        if end > len(self.data):
            raise ValueError(f"size {len(self.data)} bytes must be at least {end}")
        return np.frombuffer(self.data, kind, count, offset)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list, list[int], list]:
        """A metadata value; arrays in one walk, where the library recurses for each element."""
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        own, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        kind, begin = GGUFValueType(int(own[0])), orig_offs + 12
        if kind == GGUFValueType.STRING:
            parts, end = self._texts(begin, int(count[0]))
        elif kind in self.gguf_scalar_to_np:
            parts = [self._get(begin, self.gguf_scalar_to_np[kind], count[0])]
            end = begin + parts[0].nbytes
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        places = list(range(2, 2 + len(parts)))
        return end - orig_offs, [own, count, *parts], places, [GGUFValueType.ARRAY, kind]

    def _texts(self, offset: int, count: int) -> tuple[list[memoryview], int]:
        """Bytes of ``count`` texts, each behind its length, and where they end."""
        data, texts = self.data.data, []
        for _ in range(count):
            begin = offset + 8
            offset = begin + int.from_bytes(data[offset:begin], "little")
            if max(begin, offset) > len(data):
                raise ValueError(f"size {len(data)} bytes must be at least {offset}")
            texts.append(data[begin:offset])
        return texts, offset

    def _build_tensors(self, start_offs: int, fields: list) -> None:
        for field in fields:
            name, rank, dims, number, offset = (field.parts[place] for place in (1, 2, 3, 4, 5))
            text, shape = bytes(name).decode(), tuple(int(length) for length in reversed(dims))
            if int(rank[0]) > 4:
                raise ValueError(f"tensor {text} has rank {rank[0]}, must be 0..4")
            if int(number[0]) not in _kinds():
                names = ", ".join(f"{key} ({kind})" for key, (kind, _, _) in _kinds().items())
                raise ValueError(f"tensor {text} has type {number[0]}, must be one of {names}")
            kind, elements, block = _kinds()[int(number[0])]
            if (shape[-1] if shape else 1) % elements:
                raise ValueError(
                    f"tensor {text} shape {shape} must have rows of whole {kind} blocks of {elements}"
                )
            if offset[0] % self.alignment:
                raise ValueError(f"tensor {text} offset {offset[0]} must be a multiple of {self.alignment}")
            size = math.prod(shape) // elements * block
            self.entries.append(Entry(text, shape, kind, elements, block, start_offs + int(offset[0]), size))
        try:
            _check(self.entries, len(self.data))
        except ValueError:
            self.entries = [_longer(entry) for entry in self.entries]
            _check(self.entries, len(self.data))


def _contents(field: ReaderField) -> Any:
    """A metadata value; text that is not UTF-8 (tokens of some vocabularies) has marks in its place."""
    try:
        return field.contents()
    except UnicodeDecodeError:
        texts = [bytes(field.parts[place]).decode("utf-8", "replace") for place in field.data]
        return texts if field.types[0] == GGUFValueType.ARRAY else texts[-1]


def _longer(entry: Entry) -> Entry:
    """The same in the longer blocks that a fork of llama.cpp has under the same number, if there are any."""
    elements, block = _FORKED.get(entry.kind, (entry.elements, entry.block))
    if entry.shape and entry.shape[-1] % elements:
        return entry
    return entry._replace(elements=elements, block=block, size=math.prod(entry.shape) // elements * block)


def _check(entries: list[Entry], size: int) -> None:
    """Every tensor has a name of its own, and bytes of its own within the file."""
    names = set()
    for entry in entries:
        if entry.name in names:
            raise ValueError(f"tensor {entry.name} must occur once")
        names.add(entry.name)
        if entry.start + entry.size > size:
            raise ValueError(
                f"size {size} bytes must be at least {entry.start + entry.size} for tensor {entry.name}"
            )
    placed = sorted((entry for entry in entries if entry.size), key=lambda entry: entry.start)
    for first, second in pairwise(placed):
        if first.start + first.size > second.start:
            raise ValueError(f"tensors {first.name} and {second.name} must not overlap")
