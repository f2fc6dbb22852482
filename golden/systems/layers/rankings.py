"""Rankings: what tokens' scores are made of, from the weights of the queries so far.

=======  ==================================================================================================
sum      attention received so far (H2O)
mean     the same, divided by the number of queries that could see the token (OpenVINO's NORM_SUM)
window   attention of the newest 32 queries, then the largest of 7 neighbours (SnapKV)
random   no attention at all: a number that a token draws when it comes; what a ranking gains over this, it
         knows about tokens
=======  ==================================================================================================
"""

import zlib
from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["RANKINGS", "Ranking"]

_WINDOW, _POOLED = 32, 7

Scores = NDArray[np.float64]


class Ranking(ABC):
    """Scores of tokens."""

    @abstractmethod
    def add(self, weights: NDArray[np.float32]) -> None:
        """One more query: its weights ``[H, R, T]``; T grows by one from query to query."""

    @abstractmethod
    def scores(self) -> Scores:
        """float64 ``[H, R, T]``, at least 0."""


class _Sum(Ranking):
    def __init__(self) -> None:
        self._sums = np.zeros((1, 1, 0))
        self._tokens = 0

    def add(self, weights: NDArray[np.float32]) -> None:
        heads, repeats, self._tokens = weights.shape
        if self._tokens > self._sums.shape[2]:
            grown = np.zeros((heads, repeats, 2 * self._tokens))
            grown[..., : self._tokens - 1] = self._sums[..., : self._tokens - 1]
            self._sums = grown
        self._sums[..., : self._tokens] += weights

    def scores(self) -> Scores:
        return self._sums[..., : self._tokens]


class _Mean(_Sum):
    def scores(self) -> Scores:
        return super().scores() / np.arange(self._tokens, 0, -1)


class _Window(Ranking):
    def __init__(self) -> None:
        self._rows: deque[NDArray] = deque(maxlen=_WINDOW)

    def add(self, weights: NDArray[np.float32]) -> None:
        self._rows.append(weights)

    def scores(self) -> Scores:
        sums = np.zeros(self._rows[-1].shape)
        for row in self._rows:
            sums[..., : row.shape[-1]] += row
        padded = np.pad(sums, ((0, 0), (0, 0), (_POOLED // 2, _POOLED // 2)))
        return np.lib.stride_tricks.sliding_window_view(padded, _POOLED, -1).max(-1)


class _Random(Ranking):
    """Draws that the first weights decide, so that layers and texts differ and runs do not."""

    def __init__(self) -> None:
        self._draws: list[Scores] = []
        self._random: np.random.Generator | None = None

    def add(self, weights: NDArray[np.float32]) -> None:
        # The second query is the first whose weights are not all 1.
        if self._random is None and weights.shape[-1] > 1:
            self._random = np.random.default_rng(zlib.crc32(weights.tobytes()))
        shape = (*weights.shape[:2], 1)
        self._draws.append(np.zeros(shape) if self._random is None else self._random.random(shape))

    def scores(self) -> Scores:
        return np.concatenate(self._draws, -1)


RANKINGS: dict[str, type[Ranking]] = {"sum": _Sum, "mean": _Mean, "window": _Window, "random": _Random}
"""Every ranking by its name."""
