"""Sampling: the texts that a model itself would write."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from golden.model.attention import Memory, Plain
from golden.model.llama import Llama

__all__ = ["continuation", "samples"]


def continuation(
    model: Llama,
    tokens: list[int],
    memories: list[Memory] | None = None,
    rng: np.random.Generator | None = None,
) -> Iterator[int]:
    """Continue a text for ever: the likeliest token each time, or with ``rng`` a random one."""
    memories = memories if memories is not None else model.memories(Plain)
    while True:
        logits = model.logits(model.hidden(tokens, memories)[-1])
        if rng is None:
            tokens = [int(logits.argmax())]
        else:
            weights = np.exp((logits - logits.max()).astype(np.float64))
            tokens = [int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), "right"))]
        yield tokens[0]


def samples(model: Llama, begin: int, count: int, length: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """Texts of a model at temperature 1: ``count`` windows of ``length`` tokens after the id ``begin``."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        following = continuation(model, [begin], rng=rng)
        found.append(np.array([begin, *(next(following) for _ in range(length))]))
    return found
