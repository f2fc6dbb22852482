"""Perplexity: how surprised a model is by a text, token by token.

A text is cut into windows that do not overlap and are read from position 0 each; the first token of a window
is not scored. Perplexity is the exponential of the mean loss.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.model.attention import Memory, Plain
from golden.model.llama import Llama

__all__ = ["Difference", "compare", "log_softmax", "losses", "perplexity", "windows"]

Array = NDArray[np.float32]

_BLOCK = 256
"""Tokens whose logits are computed together."""


def windows(tokens: Sequence[int], context: int) -> list[NDArray[np.int64]]:
    """Cut a text into windows of ``context`` tokens; a last one of a single token is dropped.

    Raises:
        ValueError: nothing is left.
    """
    ids = np.asarray(tokens, np.int64)
    parts = [ids[start : start + context] for start in range(0, len(ids), context)]
    parts = [part for part in parts if len(part) > 1]
    if not parts:
        raise ValueError(f"text of {len(ids)} tokens, context {context}: both must be at least 2")
    return parts


def losses(
    model: Llama, parts: Sequence[NDArray[np.int64]], memory: Callable[[int, int], Memory] = Plain
) -> Iterator[NDArray[np.float64]]:
    """Loss in nats of every scored token, float64 [length - 1], window by window.

    Args:
        model: the model.
        parts: windows of ids.
        memory: makes a layer's memory of keys and values.
    """
    for part in parts:
        hidden = model.hidden(part[:-1], model.memories(memory))
        blocks = range(0, len(hidden), _BLOCK)
        yield np.concatenate(
            [_losses(model.logits(hidden[b : b + _BLOCK]), part[1:][b : b + _BLOCK]) for b in blocks]
        )


def _losses(logits: Array, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative logarithm of the probability of each target."""
    logits -= logits.max(-1, keepdims=True)
    own = logits[np.arange(len(targets)), targets].astype(np.float64)
    np.exp(logits, out=logits)
    return np.log(logits.sum(-1, dtype=np.float64)) - own


def perplexity(per_window: Sequence[NDArray[np.float64]]) -> float:
    """Perplexity over all tokens of all windows."""
    return float(np.exp(np.concatenate(per_window).mean()))


def log_softmax(logits: Array) -> Array:
    """Logarithm of the distribution of each row of logits [n, vocabulary], in place."""
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return logits


class Difference(NamedTuple):
    """Mean loss of one model above another's on the same tokens, and its standard error over windows."""

    mean: float
    error: float


def compare(counts: ArrayLike, differences: ArrayLike) -> Difference:
    """Mean paired difference of windows.

    Args:
        counts: tokens of each window.
        differences: mean difference of each window, in nats a token.

    Returns:
        The mean over all tokens, and its standard error; NaN for a single window.
    """
    sizes, means = np.asarray(counts, np.float64), np.asarray(differences, np.float64)
    shares, windows = sizes / sizes.sum(), len(sizes)
    mean = float(shares @ means)
    if windows == 1:
        return Difference(mean, float("nan"))
    variance = shares**2 @ np.square(means - mean) * windows / (windows - 1)
    return Difference(mean, float(np.sqrt(variance)))
