"""A layer with MiKV (``golden.systems.mikv``), as published and in pages.

Nothing is compressed before the ``prompt`` is complete; its queries and keys make the balancer. Afterwards
the high tier has ``share`` per cent of the tokens so far, half of them the newest ones.

As published a token is demoted after the query that makes the tier too large. In pages (``paged``) tiers are
re-made every 32 tokens, when a page of them is full: a high tier of 8 or 4 bits, a balancer of powers of two,
and tokens of the window in 8 bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.systems import mikv
from golden.systems.layers.layer import SCORE_BITS, Array, Layer
from golden.systems.layers.paged import PAGE, Paged
from golden.systems.layers.rankings import RANKINGS
from golden.systems.tiers import HALF

__all__ = ["MiKV"]


@dataclass(frozen=True)
class MiKV:
    """How a layer is kept.

    Attributes:
        share: per cent of the tokens in the high tier.
        high, low: bits of the tiers; 16 is float16.
        ranking: a name in ``golden.systems.layers.rankings.RANKINGS``.
        paged: the hardware form.
        prompt: tokens that are not compressed before all of them are there; a multiple of 32 where paged.
    """

    share: int = 20
    high: int = 16
    low: int = 2
    ranking: str = "sum"
    paged: bool = False
    prompt: int = 64

    def fits(self, channels: int) -> bool:
        """Whether heads of so many channels can be stored."""
        return channels % (2 * PAGE if self.paged else 2) == 0

    def layer(self, heads: int, channels: int) -> Layer:
        """An empty layer."""
        return (_Paged if self.paged else _Published)(heads, channels, self)

    def split(self, tokens: int) -> tuple[int, int]:
        """Heavy and recent tokens of the high tier."""
        budget = tokens * self.share // 100
        return budget - budget // 2, budget // 2

    def leaving(self, scores: NDArray, high: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
        """Tokens that each head demotes, told scores ``[H, T]`` and the high tier ``[H, T]``."""
        heavy, recent = self.split(high.shape[1])
        found = []
        for own, tier in zip(scores, high, strict=True):
            index = np.flatnonzero(tier)
            found.append(index[~mikv.important(own[index], heavy, recent)])
        return found


class _Published(Layer):
    def __init__(self, heads: int, channels: int, system: MiKV) -> None:
        super().__init__(heads, channels)
        self._system, self._ranking = system, RANKINGS[system.ranking]()
        self._queries: list[Array] = []
        self._balance = np.ones((heads, 1, channels), np.float32)
        self._low = np.zeros((heads, 0), bool)

    @property
    def bits(self) -> int:
        low = int(self._low.sum())
        sizes = [
            count * self.channels * (bits if bits == HALF else bits + 2 * 32 / self.channels)
            for count, bits in (
                (low, self._system.low),
                (self._low.size - low, self._system.high if self._balanced else HALF),
            )
        ]
        own = self._low.size * (SCORE_BITS + 1) + HALF * self._balance.size
        return round(2 * sum(sizes)) + own

    @property
    def _balanced(self) -> bool:
        return self.time >= self._system.prompt

    def after(self, query: Array, weights: Array) -> None:
        self._ranking.add(weights)
        self._low = np.pad(self._low, ((0, 0), (0, 1)))
        if not self._balanced:
            self._queries.append(query)
            return
        if self.time == self._system.prompt:
            self._balance = balances(np.stack([*self._queries, query], 1), self.keys[:, : self.time])
            self._queries.clear()
            self._store(np.tile(np.arange(self.time), (self.heads, 1)), self._system.high)
        else:
            self._store(np.full((self.heads, 1), self.time - 1), self._system.high)
        leaving = np.stack(self._system.leaving(self._ranking.scores().sum(1), ~self._low))
        if leaving.size:
            np.put_along_axis(self._low, leaving, True, 1)
            self._store(leaving, self._system.low)

    def _store(self, tokens: NDArray[np.intp], bits: int) -> None:
        """Quantise tokens ``[H, n]`` of the heads from what lies there."""
        if bits == HALF:
            return
        place = tokens[..., None]
        keys = np.take_along_axis(self.keys, place, 1) * self._balance
        values = np.take_along_axis(self.values, place, 1)
        for x, side, factor in ((keys, self.keys, self._balance), (values, self.values, np.float32(1))):
            half = x.astype(np.float16)
            lying = mikv.GROUPING.decode(mikv.GROUPING.quantize(half, bits), bits, half.shape)
            np.put_along_axis(side, place, lying.astype(np.float32) / factor, 1)


class _Paged(Paged):
    def __init__(self, heads: int, channels: int, system: MiKV) -> None:
        formats = [mikv.formats(channels, bits) for bits in (system.high, system.low)]
        super().__init__(heads, channels, formats, system.prompt)
        self._system, self._ranking = system, RANKINGS[system.ranking]()
        self._queries: list[Array] = []

    @property
    def bits(self) -> int:
        return super().bits + self.heads * SCORE_BITS * self.closed

    def after(self, query: Array, weights: Array) -> None:
        self._ranking.add(weights)
        if self.time <= self._system.prompt:
            self._queries.append(query)
        super().after(query, weights)

    def close(self, tokens: slice) -> None:
        if self._queries:
            queries = np.stack(self._queries, 1)
            self.key_factors = balances(queries, self.raw_keys[:, tokens], power_of_two=True)
            self._queries.clear()
        self.add(tokens, np.zeros((self.heads, tokens.stop - tokens.start), np.uint8))
        scores = self._ranking.scores().sum(1)
        high = np.stack([own.map == 0 for own in self.classes])
        for own, leaving in zip(self.classes, self._system.leaving(scores, high), strict=True):
            own.move(leaving, 1)
        self.compact(0)


def balances(queries: Array, keys: Array, power_of_two: bool = False) -> Array:
    """Balancers ``[H, 1, D]`` of queries ``[H, n, R, D]`` and keys ``[H, n, D]``."""
    own = [mikv.balancer(q, k, power_of_two) for q, k in zip(queries, keys, strict=True)]
    return np.stack(own)[:, None]
