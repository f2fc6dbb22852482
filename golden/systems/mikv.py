"""MiKV (arXiv 2402.18096): tokens that an evicting cache would drop are kept in few bits instead.

Importance is the attention that a token has received so far (H2O): the ``recent`` newest tokens and the
``heavy`` largest of the others make the high tier of a head. It keeps float16 or 8 or 4 bits, the rest 2 to
4; what is quantised is so by token, in groups of half a head, by the rule ``mikv``. Once it has left the high
tier, a token never returns: its exact value is gone.

A balancer, computed once from the prompt, shares the difficulty of a channel between query and key:

    b[c] = sqrt(max |q[c]| / max |k[c]|)            stored: k * b, asked: q / b

Bits of an element with a share r in the high tier, D = 128: r * high + (1 - r) * (low + 32/64), where a high
tier that is quantised has 32/64 too. r = 0.2 and 2 bits below give 5.2, 3.7, 2.9 with 16, 8 and 4 above.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.formats import Format
from golden.selection import top_k
from golden.systems.tiers import HALF, Grouping, Tiered, compress, selected

__all__ = [
    "GROUPING",
    "Balanced",
    "accumulate",
    "balancer",
    "formats",
    "important",
    "quantize_keys",
    "quantize_values",
]

GROUPING = Grouping("mikv", "token", 2)
"""Half a head is a group, so that the two halves that a rotary embedding pairs are apart."""


def balancer(q: ArrayLike, k: ArrayLike, power_of_two: bool = False) -> NDArray[np.float32]:
    """Factors that keys are multiplied and queries divided by.

    Args:
        q, k: real ``[..., D]``; maxima of magnitudes are taken over all leading axes.
        power_of_two: ``2^round((e_q - e_k) / 2)`` instead, with e the exponent of a maximum, floor(log2), and
            halves rounded to even; balancing then adds to an exponent.

    Returns:
        float32 ``[D]``, 1 where either maximum is 0.

    Raises:
        ValueError: different D, nothing to take a maximum of, or an element that is not finite.
    """
    queries, keys = _largest(q), _largest(k)
    if queries.shape != keys.shape:
        raise ValueError(f"q and k of {len(queries)} and {len(keys)} channels must have as many")
    known = (queries > 0) & (keys > 0)
    queries, keys = np.where(known, queries, 1), np.where(known, keys, 1)
    if power_of_two:
        difference = np.frexp(queries)[1] - np.frexp(keys)[1]
        return np.ldexp(np.float32(1), np.rint(difference / 2).astype(np.int32))
    return (np.sqrt(queries) / np.sqrt(keys)).astype(np.float32)


def accumulate(score: ArrayLike, attention: ArrayLike) -> NDArray[np.float64]:
    """Importance after more queries: every token's attention added to its score.

    Args:
        score: ``[T0]`` of the tokens so far.
        attention: ``[..., rows, T]`` normalised weights of queries, T >= T0; those of all leading axes count
            (query heads that share a KV head).

    Returns:
        float64 ``[T]``; tokens after T0 began at 0.

    Raises:
        ValueError: fewer tokens than before.
    """
    old, weights = np.asarray(score, np.float64), np.asarray(attention, np.float64)
    tokens = weights.shape[-1]
    if tokens < len(old):
        raise ValueError(f"attention to {tokens} tokens must be to at least the {len(old)} of the score")
    result = weights.reshape(-1, tokens).sum(0)
    result[: len(old)] += old
    return result


def important(score: ArrayLike, heavy: int, recent: int) -> NDArray[np.bool_]:
    """The high tier: the ``recent`` newest tokens and the ``heavy`` largest scores of the others.

    Args:
        score: ``[T]``, at least 0.
        heavy, recent: how many, at least 0; of equal scores the lowest index comes first.

    Returns:
        ``bool[T]``.

    Raises:
        ValueError: a negative number, or scores that ``golden.selection.top_k`` refuses.
    """
    if recent < 0:
        raise ValueError(f"recent {recent} must be at least 0")
    scores = np.asarray(score)
    older = max(len(scores) - recent, 0)
    return np.concatenate([top_k(scores[:older], heavy), np.ones(len(scores) - older, bool)])


@dataclass(frozen=True)
class Balanced:
    """Keys in tiers, multiplied by the balancer where they are quantised.

    Attributes:
        tiers: keys as they lie.
        raw: bool ``[H, T]``, the tokens that are float16, without the balancer.
        balance: float32 ``[H, 1, D]``.
    """

    tiers: Tiered
    raw: NDArray[np.bool_]
    balance: NDArray[np.float32]

    @property
    def bits_per_element(self) -> float:
        """Mean bits of an element, scales and zeros included, map and balancer not."""
        return self.tiers.bits_per_element

    def decompress(self) -> NDArray[np.float32]:
        """Keys ``[H, T, D]`` as a query finds them: what is quantised divided by the balancer."""
        lying = self.tiers.decompress().astype(np.float32)
        return np.where(self.raw[..., None], lying, lying / self.balance)


def quantize_keys(
    k: ArrayLike, important: ArrayLike, balance: ArrayLike = 1, high: int = 16, low: int = 2
) -> Balanced:
    """Keys of a layer in two tiers.

    Args:
        k: real ``[H, T, D]``, D even.
        important: bool ``[H, T]``, the high tier; as many tokens in every head.
        balance: of ``balancer``, ``[H, D]`` or ``[D]``; what is quantised is ``k * b`` in float32, rounded to
            float16.
        high, low: bits of the tiers; 16 keeps float16 as it is.

    Raises:
        ValueError: what ``golden.systems.tiers.compress`` refuses, or a balancer of another shape.
    """
    half, chosen = selected(k, important)
    factors = np.asarray(balance, np.float32)
    factors = np.broadcast_to(factors, (len(half), half.shape[-1]))[:, None]
    raw = np.where(chosen, high == HALF, low == HALF)
    lying = np.where(raw[..., None], half, half.astype(np.float32) * factors)
    return Balanced(compress(lying, chosen, (high, low), GROUPING), raw, factors)


def quantize_values(v: ArrayLike, important: ArrayLike, high: int = 16, low: int = 2) -> Tiered:
    """Values of a layer in two tiers, as ``quantize_keys`` without a balancer."""
    return compress(v, important, (high, low), GROUPING)


def formats(channels: int, bits: int) -> tuple[Format, Format]:
    """Formats of a tier's keys and values in pages: half a head is a group, by the rule ``native``."""
    form = Format("native", bits, "token", channels // 2)
    return form, form


def _largest(x: ArrayLike) -> NDArray[np.float64]:
    """Largest magnitude of every channel."""
    values = np.asarray(x, np.float64)
    if not values.ndim or not values.size or not np.isfinite(values).all():
        raise ValueError(f"elements of shape {values.shape} must be finite, and at least one a channel")
    return np.abs(values.reshape(-1, values.shape[-1])).max(0)
