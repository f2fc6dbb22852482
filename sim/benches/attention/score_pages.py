"""Pages of scores for benches: results and offset terms of every kind, and what golden makes of them."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.utils import exact_log2
from numpy.typing import NDArray

from golden.attention import widths
from golden.attention.rounding import nearest, shifted
from golden.attention.scores import score
from golden.attention.softmax import raised, weights
from golden.numbers import floats
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP

__all__ = ["KINDS", "VALID", "Page", "Queries", "random_page"]

_MOST_PLACES = 62
_TERM_LIMIT = (1 << 51) - 1
VALID = ("all", "some", "one", "none")


@dataclass
class Page:
    """One page of N queries, P tokens and G groups of them.

    Attributes:
        results: float32 [N, P].
        terms: int64 [N, G], in units of 2^-18.
        first, last: valid tokens of query 0; query n sees ``n & causal`` tokens more.
        scores: whether the scores are wanted.
        before: the page with whose scores those of this one are added.
    """

    results: NDArray[np.float32]
    terms: NDArray[np.int64]
    first: int
    last: int
    scores: bool
    causal: int = 0
    before: "Page | None" = None

    def expected(self) -> NDArray[np.int64]:
        """Scores [N, P]."""
        group = self.results.shape[1] // self.terms.shape[1]
        before = self.before.expected() if self.before else 0
        return score(self.results.astype(np.float64), np.repeat(self.terms, group, -1), before)

    def vectors(self) -> list[tuple[list[int], int]]:
        """Bit patterns of the results and the offset term of every vector, in their order."""
        count, groups = self.terms.shape
        bits = self.results.view(np.uint32).reshape(count, groups, -1)
        return [
            (bits[query, group].tolist(), int(self.terms[query, group]))
            for query in range(count)
            for group in range(groups)
        ]


class Queries:
    """What a few queries have found so far."""

    def __init__(self, count: int) -> None:
        self.maximum = np.full(count, widths.LOWEST, np.int64)
        self.total = np.zeros(count, np.int64)

    def see(self, page: Page) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Moves [N] and the patterns of the weights [N, P] of a page."""
        tokens = np.arange(page.results.shape[1])
        last = page.last + (np.arange(len(page.results)) & page.causal)
        valid = (page.first <= tokens) & (tokens <= last[:, None])
        found = page.expected()
        maximum = raised(self.maximum, found, valid)
        own = weights(found, maximum, valid)
        moved = maximum - self.maximum
        self.total = shifted(self.total, moved) + nearest(own, -widths.TOTAL_FRACTION).sum(-1)
        self.maximum = maximum
        return np.minimum(moved, _MOST_PLACES), floats.encode(own.astype(np.float32), "tf32")


def _plain(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """Scores of a few units to a few dozen."""
    scale = 2.0 ** rng.integers(-3, 6)
    return rng.standard_normal(shape) * scale, rng.standard_normal((shape[0], groups)) * scale * 2**18


def _equal(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """All the same, of a few bits."""
    value = rng.integers(-1 << 16, 1 << 16) / 2.0 ** rng.integers(0, 20)
    return np.full(shape, value), np.zeros((shape[0], groups))


def _spike(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """One far above all others, which are about 2^-32 of it and less."""
    results = rng.uniform(-36, -28, shape)
    results[:, rng.integers(shape[1])] = rng.choice([0, 0.5, 2.0**-13, 2.0**-19])
    return results, np.zeros((shape[0], groups))


def _ties(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """Half units of either rounding, and their neighbours."""
    results = (rng.integers(-1 << 20, 1 << 20, shape) + 0.5) * 2.0 ** rng.choice([-12, -18, -19])
    terms = rng.integers(-1 << 14, 1 << 14, (shape[0], groups)) * 32 + rng.integers(-1, 2)
    return results, terms


def _cancelled(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """Results at their limit, and terms that almost make up for it."""
    sign = rng.choice([-1.0, 1.0], (shape[0], groups))
    group = shape[1] // groups
    large = np.repeat(sign, group, -1) * 2.0 ** rng.choice([33, 34, 100, 127], shape)
    return large, -sign * (_TERM_LIMIT - rng.integers(0, 1 << 38, (shape[0], groups)))


def _limits(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """Around the largest and the lowest score."""
    limit = rng.choice([-1.0, 1.0], shape) * 2.0**19
    return limit + rng.integers(-3, 4, shape) / 4, rng.integers(-1 << 20, 1 << 20, (shape[0], groups))


def _patterns(rng: np.random.Generator, shape: tuple[int, int], groups: int) -> tuple[Any, Any]:
    """Any float32 but NaN, and any term."""
    bits = rng.integers(0, 1 << 32, shape, np.uint32)
    found = np.where(np.isnan(bits.view(np.float32)), np.float32(np.inf), bits.view(np.float32))
    lengths = rng.integers(0, 52, (shape[0], groups))
    return found, rng.integers(-_TERM_LIMIT, _TERM_LIMIT, (shape[0], groups)) >> lengths


KINDS = {
    "plain": _plain,
    "equal": _equal,
    "spike": _spike,
    "ties": _ties,
    "cancelled": _cancelled,
    "limits": _limits,
    "patterns": _patterns,
}


def random_page(
    config: Config, count: int, kind: str, valid: str, rise: int, groups: int | None = None
) -> Page:
    """A page of so many queries and groups of tokens; ``rise`` is added to every result."""
    rng = np.random.default_rng(random.getrandbits(32))
    tokens = config.kv.page_tokens
    most = tokens // SHORTEST_GROUP
    groups = groups or most >> int(rng.integers(0, most.bit_length()))
    results, terms = KINDS[kind](rng, (count, tokens), groups)
    first, last = sorted(rng.integers(0, tokens, 2).tolist())
    if valid == "none":
        first, last = max(last, 1), 0
    elif valid != "some":
        first, last = (last, last) if valid == "one" else (0, tokens - 1)
    with np.errstate(over="ignore"):
        single = (np.asarray(results, np.float64) + rise).astype(np.float32)
    causal = 0 if random.random() < 0.6 else (1 << random.randint(1, exact_log2(config.kv.queries))) - 1
    if causal and valid == "some":
        first, last = 0, random.randint(-config.kv.queries, tokens - 1)
    scores = random.random() < 0.4
    return Page(single, np.asarray(terms).astype(np.int64), first, last, scores, causal)
