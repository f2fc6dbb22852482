"""Pages of random codes as beats and as words, for the benches of the KV packers and the unpacker."""

from typing import Any, NamedTuple

import numpy as np

from golden.kv import codings
from hw.kv.payloads import Coding

__all__ = ["NAMES", "CodedPage", "random_page"]

NAMES = tuple(coding.name for coding in codings.CODINGS)


class CodedPage(NamedTuple):
    """A page of codes.

    Attributes:
        coding: how they lie in words.
        codes: uint8.
        words: what ``golden.kv.codings`` makes of them, the last word filled up with zeros.
    """

    coding: Coding
    codes: np.ndarray
    words: list[int]

    def word_beats(self) -> list[dict[str, Any]]:
        """The words as payloads ``coded_word``."""
        last = len(self.words) - 1
        return [
            {"data": word, "coding": self.coding, "last": number == last}
            for number, word in enumerate(self.words)
        ]

    def code_beats(self, width: int) -> list[dict[str, Any]]:
        """The codes as payloads ``code_beat`` of so many codes."""
        beats = self.codes.reshape(-1, width).tolist()
        last = len(beats) - 1
        return [
            {"codes": beat, "coding": self.coding, "last": number == last}
            for number, beat in enumerate(beats)
        ]


def random_page(rng: np.random.Generator, name: str, count: int, word_bits: int) -> CodedPage:
    """A page of ``count`` random codes, now and then all of them lowest or all highest."""
    coding = codings.get(name)
    highest = 2 if coding.trits else (1 << coding.bits) - 1
    low, high = ((0, highest), (0, highest), (0, highest), (0, 0), (highest, highest))[rng.integers(5)]
    codes = rng.integers(low, high, count, np.uint8, endpoint=True)
    packed = codings.pack(codes, coding)
    size = word_bits // 8
    padded = np.concatenate([packed, np.zeros(-len(packed) % size, np.uint8)]).reshape(-1, size)
    words = [int.from_bytes(word.tobytes(), "little") for word in padded]
    return CodedPage(Coding(NAMES.index(name)), codes, words)
