"""Which tokens of a picture a text asks for."""

from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.systems.vidkv.groups import GROUP

__all__ = ["protected_count", "protected_tokens"]


def protected_count(tokens: int, p: float) -> int:
    """How many of so many tokens are a share p of them, 0..1, in whole groups but for very few tokens."""
    return min(tokens, max(GROUP, floor(tokens * p / GROUP) * GROUP))


def protected_tokens(
    visual: ArrayLike, text: ArrayLike, p: float, system_tokens: int = 0, drop_last: bool = True
) -> NDArray[np.intp]:
    """Which visual tokens matter to a text: those of the largest mean dot product with its tokens.

    Args:
        visual, text: finite reals ``[N, E]`` and ``[M, E]``, embeddings before the first layer; M at least 1.
        p: share of the visual tokens, 0..1: ``protected_count`` of them, ties to the lowest.
        system_tokens: how many tokens stand before the visual ones.
        drop_last: the last 32 in the order of tokens are left away, as the authors' code does.

    Returns:
        Places in the sequence, ascending.

    Raises:
        ValueError: a shape that does not fit, a number that is not finite, or p out of range.
    """
    seen, asked = np.asarray(visual, np.float64), np.asarray(text, np.float64)
    if seen.ndim != 2 or asked.ndim != 2 or seen.shape[1] != asked.shape[1] or not len(asked):
        raise ValueError(f"visual {seen.shape} and text {asked.shape} must be [N, E] and [M, E]")
    if not (np.isfinite(seen).all() and np.isfinite(asked).all()):
        raise ValueError("visual and text must be finite")
    if not 0 <= p <= 1 or system_tokens < 0:
        raise ValueError(f"p {p} must be 0..1 and system_tokens {system_tokens} at least 0")
    # Row by row in one order, so that tokens of equal embeddings have equal scores.
    scores = (seen * asked.sum(0)).sum(1)
    count = protected_count(len(seen), p)
    chosen = np.sort(np.argsort(-scores, kind="stable")[:count])
    if drop_last:
        chosen = chosen[: max(count - GROUP, 0)]
    return chosen + system_tokens
