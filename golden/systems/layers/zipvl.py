"""A layer with ZipVL or ZipCache (``golden.systems.zipvl``), as published and in pages.

Every ``period`` tokens, the newest so many are compressed at once. Of the queries among them ``probes`` per
cent are probes, one half the newest, the other drawn: their weights on these tokens tell how many are
important in the layer, all heads together (``tau``), or ``share`` fixes it, and which ones in each head.

In pages (``paged``) keys have a step and minimum for a channel of a page, values for a token of a head, and
the scales of value channels are powers of two that the first period fixes.
"""

import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from golden.selection import top_k
from golden.systems import zipvl
from golden.systems.layers.layer import Array, Layer
from golden.systems.layers.paged import PAGE, Paged

__all__ = ["ZipVL"]


@dataclass(frozen=True)
class ZipVL:
    """How a layer is kept.

    Attributes:
        tau: share of the mass in thousandths; None where ``share`` is fixed.
        share: per cent of important tokens; None where ``tau`` is given.
        high, low: bits of important tokens and of the others.
        period: tokens that are compressed at a time; a multiple of 32 where paged.
        probes: per cent of the queries.
        ranking: "attention", or "random": as many tokens, drawn.
        paged: the hardware form.
    """

    tau: int | None = 975
    share: int | None = None
    high: int = 4
    low: int = 2
    period: int = 100
    probes: int = 10
    ranking: str = "attention"
    paged: bool = False

    def fits(self, channels: int) -> bool:
        """Whether heads of so many channels can be stored."""
        return not self.paged or channels % PAGE == 0

    def layer(self, heads: int, channels: int) -> Layer:
        """An empty layer."""
        return (_Paged if self.paged else _Published)(heads, channels, self)


class _Probing:
    """The weights of one period's probes."""

    def __init__(self, system: ZipVL) -> None:
        self._system = system
        self._rows: list[Array] = []

    def add(self, weights: Array) -> None:
        """One more query's weights ``[H, R, T]``."""
        begin = (weights.shape[2] - 1) // self._system.period * self._system.period
        own = weights[..., begin:].sum(1)
        self._rows.append(np.pad(own, ((0, 0), (0, self._system.period - own.shape[1]))))

    def important(self) -> NDArray[np.bool_]:
        """Bool ``[H, period]``; forgets the period."""
        system, rows = self._system, np.stack(self._rows, 1)
        self._rows.clear()
        # What was seen seeds the draws, so that layers and texts differ and runs do not.
        random = np.random.default_rng(zlib.crc32(rows.tobytes()))
        half = max(system.period * system.probes // 200, 1)
        older = random.permutation(system.period - half)[:half]
        probed = rows[:, [*older, *range(system.period - half, system.period)]]
        if system.tau is None:
            count = system.period * (system.share or 0) // 100
        else:
            count = zipvl.ratio(probed.sum((0, 1)), Fraction(system.tau, 1000))
        scores = [zipvl.normalised(own) for own in probed]
        if system.ranking == "random":
            scores = random.random(np.shape(scores))
        return np.stack([top_k(own, count) for own in scores])


class _Published(Layer):
    def __init__(self, heads: int, channels: int, system: ZipVL) -> None:
        super().__init__(heads, channels)
        self._system, self._probing = system, _Probing(system)
        self._closed, self._stored = 0, 0.0

    @property
    def bits(self) -> int:
        return round(self._stored) + self.heads * self._closed

    @property
    def closed(self) -> int:
        return self._closed

    def after(self, query: Array, weights: Array) -> None:
        self._probing.add(weights)
        if self.time % self._system.period:
            return
        tokens, important = slice(self._closed, self.time), self._probing.important()
        bits = self._system.high, self._system.low
        keys = zipvl.quantize_keys(self.keys[:, tokens], important, *bits)
        values = zipvl.quantize_values(self.values[:, tokens], important, *bits)
        self.keys[:, tokens], self.values[:, tokens] = keys.decompress(), values.decompress()
        elements = self.keys[:, tokens].size
        self._stored += elements * (keys.bits_per_element + values.bits_per_element)
        self._closed = self.time


class _Paged(Paged):
    def __init__(self, heads: int, channels: int, system: ZipVL) -> None:
        formats = [zipvl.formats(bits) for bits in (system.high, system.low)]
        super().__init__(heads, channels, formats, system.period)
        self._system, self._probing = system, _Probing(system)

    def after(self, query: Array, weights: Array) -> None:
        self._probing.add(weights)
        if self.time % self._system.period == 0:
            super().after(query, weights)

    def close(self, tokens: slice) -> None:
        if not tokens.start:
            self.value_factors = 1 / zipvl.channel_scales(self.raw_values[:, tokens])
        self.add(tokens, (~self._probing.important()).astype(np.uint8))
