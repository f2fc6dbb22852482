"""Signatures whose distances are hard to tell apart, or crowd together."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.systems import kvcrush
from hw.selection.payloads import MOST_TOKENS
from hw.systems.payloads import SIGNATURE_BITS, Anchor

__all__ = ["KINDS", "POPULATIONS", "Request", "random_mask", "random_signatures"]

KINDS = ("any", "few", "equal", "zeros", "ones", "runs", "thermometer", "halves")
POPULATIONS = ("none", "one", "some", "all")
"""How many of the tokens are candidates."""


@dataclass(frozen=True)
class Request:
    """What is asked for, of which signatures.

    Attributes:
        signatures: uint32 ``[n]``.
        counted, candidates: bool ``[n]``.
        budget: representatives that are wanted.
        bits: of a signature that count.
        anchor, given: what distances are taken from.
        tokens: says another number than there are signatures.
    """

    signatures: NDArray[np.uint32]
    counted: NDArray[np.bool_]
    candidates: NDArray[np.bool_]
    budget: int
    bits: int
    anchor: Anchor
    given: int
    tokens: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "tokens": len(self.signatures) if self.tokens is None else self.tokens,
            "budget": self.budget,
            "last_bit": self.bits - 1,
            "anchor": self.anchor,
            "given": self.given,
        }

    @property
    def bad(self) -> bool:
        return (self.tokens or 0) > MOST_TOKENS

    def distances(self) -> NDArray[np.intp]:
        """Of the candidates, by golden."""
        if self.anchor is Anchor.GIVEN:
            point = [self.given >> place & 1 for place in range(self.bits)]
        else:
            counted = self.signatures[self.counted]
            point = kvcrush.anchor(self.anchor.name.lower(), self.bits, 0, counted)
        return kvcrush.distances(self.signatures[self.candidates], point)

    def chosen(self) -> NDArray[np.bool_]:
        """By golden, of all tokens."""
        result = np.zeros(len(self.signatures), bool)
        places = np.flatnonzero(self.candidates)
        result[places[kvcrush.representatives(self.distances(), self.budget)]] = True
        return result

    def words(self, lanes: int) -> list[dict[str, Any]]:
        """Behind the last token anything."""
        count = -len(self.signatures) % lanes
        signatures = [*self.signatures.tolist(), *(random.getrandbits(32) for _ in range(count))]
        counted, candidates = (
            [*flags.tolist(), *(random.random() < 0.5 for _ in range(count))]
            for flags in (self.counted, self.candidates)
        )
        return [
            {
                "signatures": signatures[first : first + lanes],
                "counted": _number(counted[first : first + lanes]),
                "candidates": _number(candidates[first : first + lanes]),
            }
            for first in range(0, len(signatures), lanes)
        ]


def random_signatures(kind: str, count: int) -> NDArray[np.uint32]:
    """Of every distance, of a few, of one, or with bits that are set in just half of them."""
    rng = np.random.default_rng(random.getrandbits(32))
    value = random.getrandbits(32)
    found = {
        "any": rng.integers(0, 1 << 32, count),
        "few": rng.choice(rng.integers(0, 1 << 32, 3), count),
        "equal": np.full(count, value),
        "zeros": np.zeros(count, int),
        "ones": np.full(count, (1 << 32) - 1),
        "runs": np.repeat(rng.choice([value, value ^ 1, ~value & (1 << 32) - 1], count), 7)[:count],
        "thermometer": (1 << rng.integers(0, SIGNATURE_BITS + 1, count)) - 1,
        "halves": np.where(np.arange(count) % 2, value, ~value & (1 << 32) - 1),
    }
    return found[kind].astype(np.uint32)


def random_mask(population: str, count: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(random.getrandbits(32))
    return {
        "none": np.zeros(count, bool),
        "one": np.arange(count) == rng.integers(0, max(count, 1)),
        "some": rng.random(count) < 0.6,
        "all": np.ones(count, bool),
    }[population]


def _number(flags: list[bool]) -> int:
    return sum(flag << place for place, flag in enumerate(flags))
