"""Memory images: what the decode core's memory holds before the first token, and where everything is.

An image is a file of bytes, ``image.bin``, and its symbols as JSON, ``image.json``: lines (64 bytes) from the
beginning of the core's window, and what a driver needs to start the core.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.core.commands import COMPLETION_BYTES, LINE_BYTES

__all__ = ["Builder", "Image", "Symbols", "line_count"]

_BYTES, _SYMBOLS = "image.bin", "image.json"


def line_count(length: int) -> int:
    """Lines that so many bytes take."""
    return -(-length // LINE_BYTES)


@dataclass(frozen=True)
class Symbols:
    """What a driver needs to know of an image.

    Attributes:
        ring: line of the first command.
        commands: in the ring: those of a token, of one sequence after the other.
        completions: line of the first completion.
        sequence: line of the first sequence's state; those of the others are behind it.
        tokens: line of its tokens; those of the others are behind them (``tokens_of``).
        limit: tokens that a sequence has room for.
        logits: line of the logits of the last token, float32; None where they are not kept.
        vocabulary: number of tokens that the model knows.
        identity: the model's, 64 bits.
        lines: length of the window.
        preset: the core that it is made for.
        lines_of: line of every named part.
        sequences: that take turns.
    """

    ring: int
    commands: int
    completions: int
    sequence: int
    tokens: int
    limit: int
    logits: int | None
    vocabulary: int
    identity: int
    lines: int
    preset: str
    lines_of: dict[str, int]
    sequences: int = 1

    @property
    def token_commands(self) -> int:
        """Commands that a token takes."""
        return self.commands // self.sequences

    def tokens_of(self, sequence: int) -> int:
        """Line of the tokens of a sequence."""
        return self.tokens + sequence * line_count(4 * self.limit)

    def without_cycles(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the window with 0 for the cycles in completions, which the circuit alone knows."""
        kept = memory.copy()
        completions = kept[self.completions * LINE_BYTES :][: self.commands * COMPLETION_BYTES]
        completions.view("<u4").reshape(self.commands, -1)[:, -1] = 0
        return kept


@dataclass(frozen=True, eq=False)
class Image:
    """A memory image.

    Attributes:
        memory: uint8 [64 * lines].
        symbols: where everything is.
        listing: the program, a line of text a command.
    """

    memory: NDArray[np.uint8]
    symbols: Symbols
    listing: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``image.bin``, ``image.json`` and ``program.txt`` into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "program.txt").write_text("\n".join([*self.listing, ""]))
        (folder / _SYMBOLS).write_text(json.dumps(asdict(self.symbols), indent=1) + "\n")
        self.memory.tofile(folder / _BYTES)

    @classmethod
    def load(cls, folder: Path) -> "Image":
        """Read an image.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not an image, or not all of one.
        """
        try:
            symbols = Symbols(**json.loads((folder / _SYMBOLS).read_text()))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{folder / _SYMBOLS}: {error}") from None
        memory = np.fromfile(folder / _BYTES, np.uint8)
        if len(memory) != LINE_BYTES * symbols.lines:
            raise ValueError(
                f"{folder / _BYTES} of {len(memory)} bytes must have {LINE_BYTES * symbols.lines}"
            )
        return cls(memory, symbols)

    def with_prompt(self, *prompts: list[int]) -> NDArray[np.uint8]:
        """A copy of the memory with a prompt for each sequence, at its beginning.

        Raises:
            ValueError: more or fewer prompts; no token, too many, or an unknown one.
        """
        symbols = self.symbols
        if len(prompts) != symbols.sequences:
            raise ValueError(f"prompts {len(prompts)} must be {symbols.sequences}, one of each sequence")
        memory = self.memory.copy()
        lines = memory.view("<u4").reshape(-1, LINE_BYTES // 4)
        for number, tokens in enumerate(prompts):
            if not 1 <= len(tokens) < symbols.limit:
                raise ValueError(f"prompt of {len(tokens)} tokens must have 1..{symbols.limit - 1}")
            if not 0 <= min(tokens) <= max(tokens) < symbols.vocabulary:
                raise ValueError(f"tokens must be 0..{symbols.vocabulary - 1}")
            lines[symbols.tokens_of(number) :].reshape(-1)[: len(tokens)] = tokens
            lines[symbols.sequence + number, 1] = len(tokens)
        return memory


class Builder:
    """Lays parts out one after the other, each from the beginning of a line.

    Attributes:
        lines_of: line of every part by its name.
    """

    def __init__(self) -> None:
        self.lines_of: dict[str, int] = {}
        self._parts: list[NDArray[np.uint8]] = []
        self.lines = 0

    def add(self, name: str, part: NDArray | bytes) -> int:
        """Add a part; returns its line."""
        if name in self.lines_of:
            raise ValueError(f"part {name!r} must be the only one of its name")
        flat = np.frombuffer(
            part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes(), np.uint8
        )
        padded = np.pad(flat, (0, -len(flat) % LINE_BYTES))
        self.lines_of[name] = line = self.lines
        self._parts.append(padded)
        self.lines += len(padded) // LINE_BYTES
        return line

    def reserve(self, name: str, length: int) -> int:
        """Add so many bytes of zeros."""
        return self.add(name, np.zeros(length, np.uint8))

    def memory(self) -> NDArray[np.uint8]:
        """Everything."""
        return np.concatenate(self._parts)

    def identity(self) -> int:
        """The first 64 bits of the SHA-256 of everything so far."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(part.tobytes())
        return int.from_bytes(digest.digest()[:8], "little")
