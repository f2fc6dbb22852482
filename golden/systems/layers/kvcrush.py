"""A layer whose cache has a budget: H2O, SnapKV, and KVCrush on either (``golden.systems.kvcrush``).

The layer keeps the same tokens in all its heads: the ``start`` first ones, the ``recent`` newest ones, and of
those between them the best by the sum of their scores. Whenever a page's worth of tokens is above the budget,
it is cut back. KVCrush gives a part of the budget to representatives of what would be evicted: tokens by
signatures of the query heads, or whole blocks by the released code, which frees pages.

A bit of a signature is a selection for each query head, which costs more than all else. With ``refresh`` only
so many heads are selected for at a cut, in turn; the others keep their bits, 0 for tokens that are newer.

With ``bits`` below 16 a block is quantised, by the rule ``native`` in KIVI's groups, as it leaves the newest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.kv import schemes
from golden.selection import top_k
from golden.systems import kvcrush
from golden.systems.layers.layer import SCORE_BITS, Array, Layer
from golden.systems.layers.paged import PAGE
from golden.systems.layers.rankings import RANKINGS
from golden.systems.tiers import HALF

__all__ = ["KVCrush"]

Index = NDArray[np.intp]


@dataclass(frozen=True)
class KVCrush:
    """How a layer is kept.

    Attributes:
        budget: tokens that are kept; all sizes are multiples of 32.
        representatives: tokens of the budget for representatives; 0 is the base policy by itself.
        by: "token" or "block".
        ranking: a name in ``golden.systems.layers.rankings.RANKINGS``.
        anchor, seed: of ``golden.systems.kvcrush.anchor``.
        start, recent: tokens that are kept for their place.
        bits: of an element; 16 is float16.
        refresh: query heads whose bits of signatures are found anew at a cut, all of them at the first one;
            0: all.
    """

    budget: int = 256
    representatives: int = 64
    by: str = "token"
    ranking: str = "sum"
    anchor: str = "mean"
    seed: int = 0
    start: int = 32
    recent: int = 32
    bits: int = HALF
    refresh: int = 0

    def fits(self, channels: int) -> bool:
        """Whether heads of so many channels can be stored."""
        return self.bits == HALF or channels % PAGE == 0

    def layer(self, heads: int, channels: int) -> Layer:
        """An empty layer."""
        return _Layer(heads, channels, self)

    @property
    def room(self) -> int:
        """Tokens that the base policy keeps of the evictable area."""
        return self.budget - self.start - self.recent - self.representatives

    @property
    def signed(self) -> bool:
        """Whether tokens have signatures."""
        return self.by == "token" and self.representatives > 0

    def chosen(self, scores: NDArray, signatures: NDArray | None = None) -> Index:
        """Places of the evictable area that are kept, told its scores ``[N, n]`` of query heads.

        Args:
            scores: ``[N, n]``.
            signatures: unsigned ``[n]``, by default those of the scores.
        """
        if self.by != "token":
            return self._blocks(scores, self.room)
        return self._tokens(scores, self.room, signatures)

    def _tokens(self, scores: NDArray, room: int, signatures: NDArray | None) -> Index:
        best = top_k(scores.sum(0), room)
        others = np.flatnonzero(~best)
        if not self.representatives:
            return np.flatnonzero(best)
        if signatures is None:
            signatures = kvcrush.signatures(scores, room)
        point = kvcrush.anchor(self.anchor, len(scores), self.seed, signatures)
        distance = kvcrush.distances(signatures[others], point)
        kept = others[kvcrush.representatives(distance, self.representatives)]
        return np.union1d(np.flatnonzero(best), kept)

    def _blocks(self, scores: NDArray, room: int) -> Index:
        tokens = scores.sum(0)
        best = top_k(tokens.reshape(-1, PAGE).sum(1), room // PAGE)
        budget = self.representatives // PAGE
        kept = kvcrush.blocks(tokens, np.flatnonzero(~best), PAGE, budget, self.anchor, self.seed)
        numbers = np.union1d(np.flatnonzero(best), kept)
        return (numbers[:, None] * PAGE + np.arange(PAGE)).ravel()


class _Layer(Layer):
    def __init__(self, heads: int, channels: int, system: KVCrush) -> None:
        super().__init__(heads, channels)
        self._system, self._ranking = system, RANKINGS[system.ranking]()
        self._query_heads = heads
        self._formats = None if system.bits == HALF else schemes.get(f"native{system.bits}")
        self._planes = np.zeros((0, 0), bool)  # of signatures, a row for each query head
        self._turn = 0

    @property
    def bits(self) -> int:
        alive = int(self.kept[0, : self.time].sum())
        old = 0 if self._formats is None else max(alive - self._system.recent, 0) // PAGE * PAGE
        coded = 0.0 if self._formats is None else self._formats.bits_per_element(self.channels)
        elements = 2 * self.heads * self.channels * ((alive - old) * HALF + old * coded)
        signed = self._system.signed
        # A signature needs every query head's scores; the sum of all is enough without.
        own = (SCORE_BITS + 1) * self._query_heads if signed else SCORE_BITS
        return round(elements) + alive * own + self.time

    def after(self, query: Array, weights: Array) -> None:
        self._query_heads = weights.shape[0] * weights.shape[1]
        self._ranking.add(weights)
        if self.time % PAGE:
            return
        self._quantize()
        alive = np.flatnonzero(self.kept[0, : self.time])
        system = self._system
        if len(alive) < system.budget + PAGE:
            return
        area = alive[system.start : len(alive) - system.recent]
        scores = self._ranking.scores().reshape(self._query_heads, -1)[:, area]
        self.kept[:, area] = False
        signatures = self._signatures(scores, area) if system.signed and system.refresh else None
        self.kept[:, area[system.chosen(scores, signatures)]] = True

    def _signatures(self, scores: NDArray, area: Index) -> NDArray[np.unsignedinteger]:
        """Signatures of the area, some bits of which are found anew."""
        heads, first = len(scores), not self._planes.size
        planes = np.zeros((heads, self.time), bool)
        planes[: len(self._planes), : self._planes.shape[1]] = self._planes
        for _ in range(heads if first else min(self._system.refresh, heads)):
            planes[self._turn, area] = top_k(scores[self._turn], self._system.room)
            self._turn = (self._turn + 1) % heads
        self._planes = planes
        places = np.arange(heads, dtype=np.uint64)[:, None]
        return (planes[:, area].astype(np.uint64) << places).sum(0, dtype=np.uint64)

    def _quantize(self) -> None:
        last = self.time - self._system.recent
        if self._formats is None or last < PAGE:
            return
        block = slice(last - PAGE, last)
        for form, side in ((self._formats.key, self.keys), (self._formats.value, self.values)):
            side[:, block] = form.decode(form.quantize(side[:, block]))
