"""Tokenizers: text to token ids and back, for the models that ``golden.model`` runs.

* ``ByteLevel``: GPT-2's byte-level BPE as a GGUF carries it, with the pre-tokenizer that llama.cpp calls
  "smollm": every digit (Unicode category N) stands alone, then GPT-2's pattern splits what is between.
* ``Pieces``: the scored pieces of llama2.c (``tokenizer.bin``), merged best pair first;
* ``golden.model.subwords``: what the ``tokenizers`` library reads: folders, and other vocabularies of GGUFs.

All decode what they encoded to the same text.
"""

import re
import struct
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from golden.checkpoint import Checkpoint
from golden.model.subwords import SPLITS, Subwords

__all__ = ["ByteLevel", "Pieces", "Tokenizer", "begin", "ends", "of"]


class Tokenizer(Protocol):
    """Turns text into ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def control(self, name: str) -> int: ...


_MARKS = ("", "tokenizer.ggml.")
"""What stands before the names of marks in the metadata of folders and of GGUFs."""


def of(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer that belongs to a model.

    A GGUF has it inside, a folder as ``tokenizer.json``, a .bin beside it: ``tok512.bin``, ``tokenizer.bin``.

    Raises:
        ValueError: there is none, or not of a kind this file knows.
    """
    if checkpoint.format == "huggingface":
        folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
        if not (path := folder / "tokenizer.json").is_file():
            raise ValueError(f"{folder} must hold a tokenizer: {path.name}")
        return Subwords.read(path)
    if checkpoint.format == "llama2.c":
        names = (f"tok{checkpoint.metadata['vocab']}.bin", "tokenizer.bin")
        for path in (checkpoint.path.with_name(name) for name in names):
            if path.is_file():
                return Pieces.read(path, checkpoint.metadata["vocab"])
        raise ValueError(f"{checkpoint.path.parent} must hold a tokenizer: {' or '.join(names)}")
    data = checkpoint.metadata
    kind, split = data.get("tokenizer.ggml.model"), data.get("tokenizer.ggml.pre")
    if (kind, split) == ("gpt2", "smollm"):
        return ByteLevel(data["tokenizer.ggml.tokens"], data["tokenizer.ggml.merges"])
    if embedded := data.get("tokenizer.huggingface.json"):
        return Subwords.read(checkpoint.path, embedded)
    if kind == "gpt2" and split in SPLITS:
        return Subwords.byte_level(checkpoint.path, data)
    known = ", ".join(("smollm", *SPLITS))
    raise ValueError(f"{checkpoint.path}: tokenizer {(kind, split)} must be 'gpt2' with one of {known}")


def begin(checkpoint: Checkpoint) -> int:
    """Id that a text begins with: the mark of a begin, in models without one that of an end."""
    marks = (checkpoint.metadata.get(prefix + "bos_token_id") for prefix in _MARKS)
    first = next((mark for mark in marks if mark is not None), None)
    return min(ends(checkpoint), default=Pieces.BEGIN) if first is None else first


def ends(checkpoint: Checkpoint) -> set[int]:
    """Ids that end a text."""
    found = {Pieces.BEGIN, Pieces.END} if checkpoint.format == "llama2.c" else set()
    for name in (prefix + end for prefix in _MARKS for end in ("eos_token_id", "eot_token_id")):
        value = checkpoint.metadata.get(name)
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return found


# GPT-2's pattern, for text whose characters `_shadow` reduced to representatives of their classes.
_RUNS = re.compile("[^0]+|0")
_WORDS = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+(?!\S)|\s+")
_CONTROL = "<|{}|>"


def _representative(character: str) -> str:
    """One ASCII character of the same class: letter, number, white space or other."""
    if character.isascii() and not "\x1c" <= character <= "\x1f":
        return "0" if character.isdigit() else character
    if character.isalpha():
        return "a"
    if unicodedata.category(character).startswith("N"):
        return "0"
    return "\t" if character.isspace() and not character.isascii() else "!"


class _Shadows(dict[int, str]):
    """Translation table that fills itself."""

    def __missing__(self, code: int) -> str:
        self[code] = _representative(chr(code))
        return self[code]


def _letters() -> list[str]:
    """GPT-2's printable stand-in of every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = dict(zip(printable, map(chr, printable), strict=True))
    stand_ins |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return [stand_ins[byte] for byte in range(256)]


class ByteLevel:
    """GPT-2's byte-level BPE.

    Args:
        tokens: text of every id, bytes as GPT-2's printable stand-ins.
        merges: pairs "left right", the ones to merge first in front.
    """

    def __init__(self, tokens: list[str], merges: list[str]) -> None:
        self.tokens = tokens
        self._ids = {token: number for number, token in enumerate(tokens)}
        self._ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        self._letters = _letters()
        self._shadows = _Shadows()
        self._known: dict[str, list[int]] = {}

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {letter: byte for byte, letter in enumerate(self._letters)}

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any mark at its begin; names of control tokens are ordinary text.

        Raises:
            ValueError: a character has a byte that the vocabulary lacks (SmolLM2's: a few control
                characters, and planes 4 and up).
        """
        shadow = text.translate(self._shadows)
        ids: list[int] = []
        for run in _RUNS.finditer(shadow):
            for word in _WORDS.finditer(shadow, *run.span()):
                ids += self._word(text[word.start() : word.end()])
        return ids

    def control(self, name: str) -> int:
        """Id of the control token ``<|name|>``.

        Raises:
            ValueError: there is none.
        """
        if (token := _CONTROL.format(name)) not in self._ids:
            raise ValueError(f"control token {token!r} must be in the vocabulary")
        return self._ids[token]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; bytes that are not UTF-8 become the replacement character."""
        letters = "".join(self.tokens[number] for number in ids)
        return bytes(self._bytes[letter] for letter in letters).decode("utf-8", "replace")

    def _word(self, word: str) -> list[int]:
        """Ids of one word: merge the pair of the lowest rank, everywhere, until none is left."""
        if word in self._known:
            return self._known[word]
        parts = [self._letters[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = pairwise(parts)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged, place = [], 0
            while place < len(parts):
                step = 2 if tuple(parts[place : place + 2]) == best else 1
                merged.append("".join(parts[place : place + step]))
                place += step
            parts = merged
        for part in parts:
            if part not in self._ids:
                raise ValueError(f"text {word!r} has byte {self._bytes[part]:#x}, which no token stands for")
        return self._known.setdefault(word, [self._ids[part] for part in parts])


class Pieces:
    """The tokenizer of llama2.c: a text begins with id 1, and a blank goes before it.

    Args:
        pieces: bytes and score of every id; 3..258 are the 256 bytes.
    """

    BEGIN, END, FIRST_BYTE = 1, 2, 3

    def __init__(self, pieces: list[tuple[bytes, float]]) -> None:
        self.pieces = pieces
        self._ids = {
            piece: number for number, (piece, _) in enumerate(pieces) if number >= self.FIRST_BYTE + 256
        }

    @classmethod
    def read(cls, path: Path, count: int) -> "Pieces":
        """Read llama2.c's ``tokenizer.bin``: longest length, then score, length and bytes of every piece.

        Raises:
            ValueError: the file is too short for ``count`` pieces.
        """
        data, place, pieces = path.read_bytes(), 4, []
        try:
            for _ in range(count):
                score, length = struct.unpack_from("<fi", data, place)
                place += 8 + length
                pieces.append((data[place - length : place], score))
        except struct.error:
            place = len(data) + 1
        if place > len(data):
            raise ValueError(f"{path}: size {len(data)} bytes is too small for {count} pieces")
        return cls(pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with the mark of its begin."""
        ids = [number for character in (" " + text if text else "") for number in self._character(character)]
        while True:
            scores = [(self._merged(pair), pair) for pair in pairwise(ids)]
            found = [(self.pieces[m][1], -place, m) for place, (m, _) in enumerate(scores) if m is not None]
            if not found:
                return [self.BEGIN, *ids]
            _, place, merged = max(found)
            ids[-place : 2 - place] = [merged]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, without the marks of begin and end and the blank that ``encode`` put in front."""
        ids = list(ids)
        first = ids[:1] == [self.BEGIN]
        parts = [self._bytes(number) for number in ids if number not in (self.BEGIN, self.END)]
        text = b"".join(parts)
        return (text[1:] if first and text[:1] == b" " else text).decode("utf-8", "replace")

    def control(self, name: str) -> int:
        """Refuse; there are none.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"control token {_CONTROL.format(name)!r} must be in the vocabulary")

    def _bytes(self, number: int) -> bytes:
        byte = number - self.FIRST_BYTE
        return bytes([byte]) if 0 <= byte < 256 else self.pieces[number][0]

    def _character(self, character: str) -> list[int]:
        encoded = character.encode()
        return [self._ids[encoded]] if encoded in self._ids else [self.FIRST_BYTE + byte for byte in encoded]

    def _merged(self, pair: tuple[int, int]) -> int | None:
        return self._ids.get(self.pieces[pair[0]][0] + self.pieces[pair[1]][0])
