"""Scores that are hard to choose among."""

import random

import numpy as np

__all__ = ["KINDS", "MOST", "random_scores", "words_of"]

KINDS = ("any", "few", "equal", "zero", "largest", "one", "last_digit", "runs", "powers")
MOST = (1 << 32) - 1


def words_of(scores: np.ndarray, lanes: int) -> list[list[int]]:
    """Words of scores, behind the last one anything."""
    rest = [random.choice((0, MOST, random.getrandbits(32))) for _ in range(-len(scores) % lanes)]
    return np.append(scores, np.array(rest, np.uint32)).reshape(-1, lanes).tolist()


def random_scores(kind: str, count: int) -> np.ndarray:
    """Scores that are hard to tell apart, or far apart, or always of the same bins."""
    rng = np.random.default_rng(random.getrandbits(32))
    value = random.getrandbits(32)
    found = {
        "any": rng.integers(0, 1 << 32, count),
        "few": rng.choice(rng.integers(0, 1 << 32, 3), count),
        "equal": np.full(count, value),
        "zero": np.zeros(count, int),
        "largest": np.full(count, MOST) - (rng.random(count) < 0.2),
        "one": np.where(np.arange(count) == rng.integers(0, max(count, 1)), MOST, 0),
        "last_digit": (value & ~255) + rng.integers(0, 256, count),
        "runs": np.repeat(rng.choice([value, value ^ 1 << 24, 255, 0], count), rng.integers(1, 32))[:count],
        "powers": 1 << rng.integers(0, 32, count),
    }
    return found[kind].astype(np.uint32)
