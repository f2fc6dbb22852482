"""ZipVL (arXiv 2410.08584) on ZipCache (arXiv 2405.14256): more bits for the tokens that carry the mass.

Some rows of attention, those of probe queries, tell which tokens matter. Of their column sums ZipVL takes as
many tokens as are needed for a share tau of the mass (the ratio differs from layer to layer); which ones is
decided by the sums divided by the number of queries that can see a token (ZipCache), since an early token is
seen by more. Important tokens have ``high`` bits, the others ``low``:

* keys: one step and minimum for a channel of a head, over all tokens of the class;
* values: divided by sqrt(max |x|) of their channel, over all tokens; then one step and minimum for the n-th
  token of the class, over the channels of all heads ("channel-separable token-wise").

Arithmetic is float16, every operation rounded, as ZipCache's code runs. What it leaves undefined: a group
whose elements are equal decodes to its minimum, and a channel of zeros, divided by 0 there, stays zero here.

A group over all heads does not lie in pages of one head: ``by_head`` gives every head a group of its own.

Bits of an element with a share r important: r * high + (1 - r) * low; keys + 32/T for each class, values
+ 32 / (H D) + 16 / T. 28.6 % important and 4/2 bits are 2.57 bits, 6.22 times less than float16 (published
6.18); a fixed 70 % gives 3.4 bits, 4.71 times (published 4.69).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.formats import Format
from golden.selection import top_p
from golden.systems.tiers import HALF, Grouping, Tiered, compress, selected

__all__ = [
    "KEYS",
    "VALUES",
    "VALUES_BY_HEAD",
    "Separable",
    "channel_scales",
    "formats",
    "normalised",
    "prefill",
    "quantize_keys",
    "quantize_values",
    "ratio",
]

KEYS = Grouping("zipcache", "channel")
VALUES = Grouping("zipcache", "token", None)
VALUES_BY_HEAD = Grouping("zipcache", "token", 1)


@dataclass(frozen=True)
class Separable:
    """Values in tiers, divided by a scale of their channel.

    Attributes:
        tiers: quotients as they lie.
        scale: float16 ``[H, 1, D]``, 0 for a channel of zeros.
    """

    tiers: Tiered
    scale: NDArray[np.float16]

    @property
    def bits_per_element(self) -> float:
        """Mean bits of an element, all scales and minima included; the map of classes is not."""
        return self.tiers.bits_per_element + HALF * self.scale.size / self.tiers.elements

    def decompress(self) -> NDArray[np.float16]:
        """Values ``[H, T, D]``."""
        return self.tiers.decompress() * self.scale


def formats(bits: int, page_tokens: int = 32) -> tuple[Format, Format]:
    """Formats of a class in pages: keys have a step for a channel of a page, values for a token of a head."""
    return Format("native", bits, "channel", page_tokens), Format("native", bits, "token", None)


def channel_scales(v: ArrayLike) -> NDArray[np.float32]:
    """Scales of value channels in the hardware form: sqrt(max |x|) as the power of two 2^round(e / 2).

    Args:
        v: real ``[H, T, D]``; e = floor(log2 max |x|), halves rounded to even.

    Returns:
        float32 ``[H, 1, D]``, 1 for a channel of zeros. Dividing by them is exact unless a quotient is
        subnormal.
    """
    largest = np.abs(np.asarray(v, np.float64)).max(1, keepdims=True)
    exponents = np.frexp(np.where(largest > 0, largest, 1))[1] - 1
    return np.ldexp(np.float32(1), np.rint(exponents / 2).astype(np.int32))


def ratio(scores: ArrayLike, tau: float | Fraction) -> int:
    """How many tokens are important: the fewest whose scores sum to ``tau`` of the total.

    Args:
        scores: ``[T]``, at least 0: attention summed over the probe rows.
        tau: 0..1, taken as the exact number that it is.

    Returns:
        0..T; 0 where all scores are zero.

    Raises:
        ValueError: what ``golden.selection.top_p`` refuses.
    """
    return int(top_p(scores, tau).sum())


def normalised(scores: ArrayLike) -> NDArray[np.float64]:
    """Mean attention of the queries that can see a token, as ZipCache computes it.

    The divisor is that of all queries, T - j for token j, whichever of them are probed.

    Args:
        scores: ``[probes, T]`` rows of attention.

    Returns:
        float64 ``[T]``: column sums / (T - j).

    Raises:
        ValueError: another number of dimensions.
    """
    rows = np.asarray(scores, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"scores of shape {rows.shape} must be [probes, T]")
    return rows.sum(0) / np.arange(rows.shape[1], 0, -1)


def prefill(q: ArrayLike, k: ArrayLike, v: ArrayLike, important: ArrayLike) -> NDArray[np.float32]:
    """Attention of a prompt among its important tokens only.

    Args:
        q: real ``[H, R, T, D]``, R query heads for every KV head; k, v: ``[H, T, D]``.
        important: bool ``[H, T]``.

    Returns:
        float32 ``[H, R, T, D]``: an important token's attention to the important ones up to itself, zeros for
        the others, whose residual passes the layer alone.
    """
    queries, keys, values = (np.asarray(x, np.float32) for x in (q, k, v))
    result = np.zeros_like(queries)
    for head, chosen in enumerate(np.asarray(important, bool)):
        index = np.flatnonzero(chosen)
        scores = queries[head][:, index] @ keys[head, index].T * np.float32(queries.shape[-1] ** -0.5)
        scores[:, ~np.tri(len(index), dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True, initial=np.finfo(np.float32).min))
        result[head][:, index] = weights / weights.sum(-1, keepdims=True) @ values[head, index]
    return result


def quantize_keys(k: ArrayLike, important: ArrayLike, high: int = 4, low: int = 2) -> Tiered:
    """Keys of a layer in two classes.

    Args:
        k: real ``[H, T, D]``, rounded to float16.
        important: bool ``[H, T]``, as many tokens in every head.
        high, low: bits of important tokens and of the others.

    Raises:
        ValueError: what ``golden.systems.tiers.compress`` refuses, a range above float16 among it.
    """
    return compress(k, important, (high, low), KEYS)


def quantize_values(
    v: ArrayLike, important: ArrayLike, high: int = 4, low: int = 2, by_head: bool = False
) -> Separable:
    """Values of a layer in two classes, as ``quantize_keys``; ``by_head`` for a group a head."""
    half, chosen = selected(v, important)
    scale = np.sqrt(np.abs(half).max(1, keepdims=True))
    quotients = half / np.where(scale == 0, np.float16(1), scale)
    return Separable(compress(quotients, chosen, (high, low), VALUES_BY_HEAD if by_head else VALUES), scale)
