"""A layer with VidKV (``golden.systems.vidkv``).

Nothing is quantised before the ``prompt`` is complete; the ranges of its keys choose the anomalous channels.
Afterwards every 32 tokens that leave the window, the 32 newest, are a group. Of them those that drew the most
attention until then are protected, ``protect`` per cent of all so far: the paper's dot product with the
embeddings of a question needs a picture. A class's values wait as float16 until 32 of them are there.

Tokens that are all there at once (``VidKV.compress``) are a prompt as the paper has it: their ranges choose
the channels, groups begin at the first token, and what fills none stays float16.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.systems import vidkv
from golden.systems.layers.layer import Array, Layer
from golden.systems.layers.rankings import RANKINGS
from golden.systems.vidkv import GROUP, QuantizedKeys, QuantizedValues

__all__ = ["VidKV"]

_WINDOW = 32


@dataclass(frozen=True)
class VidKV:
    """How a layer is kept.

    Attributes:
        fraction: of the channels that have 2 bits; 0.5 is "1.5 bits".
        transform: whether the other channels are transformed.
        decode: "scaled" or "published", of keys and of values; or "kept", of values, with keys "scaled".
        protect: per cent of the tokens whose values have 2 bits.
        ranking: by which they are chosen, a name in ``golden.systems.layers.rankings.RANKINGS``.
        gamma: threshold of trits in mean magnitudes.
        prompt: tokens that choose the channels.
    """

    fraction: float = 0.5
    transform: bool = True
    decode: str = "scaled"
    protect: int = 0
    ranking: str = "mean"
    gamma: float = 0.7
    prompt: int = 64

    @property
    def key_decode(self) -> str:
        """Decoding of keys."""
        return "scaled" if self.decode == "kept" else self.decode

    def fits(self, channels: int) -> bool:
        """Whether heads of so many channels can be stored: all can."""
        return channels > 0

    def layer(self, heads: int, channels: int) -> Layer:
        """An empty layer."""
        return _Layer(heads, channels, self)

    def compress(self, keys: Array, values: Array, weights: Array) -> tuple[QuantizedKeys, QuantizedValues]:
        """Quantise tokens that are all there.

        Args:
            keys, values: float32 ``[H, T, D]``, rounded to float16.
            weights: float32 ``[H, R, n, T]``, what n queries drew from all of them; the most drawn ones are
                protected, as many as ``protected_count`` says.

        Raises:
            ValueError: a ranking that needs an order of tokens, or what the quantisers refuse.
        """
        mask = vidkv.channel_mask(keys.astype(np.float16), self.fraction)
        marks = self._most_drawn(weights) if self.protect else None
        return (
            vidkv.quantize_keys(keys, mask, transform=self.transform, decode=self.key_decode),
            vidkv.quantize_values(values, self.gamma, self.decode, protected=marks),
        )

    def _most_drawn(self, weights: Array) -> NDArray[np.bool_]:
        """The protected ones of T tokens."""
        if self.ranking == "random":
            # What was seen seeds the draws, so that layers and sounds differ and runs do not.
            drawn = np.random.default_rng(zlib.crc32(weights.tobytes())).random(weights.shape[-1])
        elif self.ranking in ("sum", "mean"):
            drawn = weights.mean((0, 1, 2), dtype=np.float64)  # all queries see all tokens
        else:
            raise ValueError(f"ranking {self.ranking!r} of tokens without order must be sum, mean or random")
        chosen = np.zeros(len(drawn), bool)
        count = vidkv.protected_count(len(drawn), self.protect / 100)
        chosen[np.argsort(-drawn, kind="stable")[:count]] = True
        return chosen


class _Layer(Layer):
    def __init__(self, heads: int, channels: int, system: VidKV) -> None:
        super().__init__(heads, channels)
        self._system = system
        self._ranking = RANKINGS[system.ranking]() if system.protect else None
        self._mask = np.zeros(channels, bool)
        self._classes = np.zeros(0, bool)  # of the closed tokens: whether each is protected
        self._waiting = {False: np.zeros(0, np.intp), True: np.zeros(0, np.intp)}
        self._bits, self._elements = 0.0, 0

    @property
    def bits(self) -> int:
        """Codes, metadata, the mask and the classes; a closed token needs its score no more."""
        own = self.channels + len(self._classes) * (self._ranking is not None)
        return (round(self._bits) + own) if self.closed else 0

    @property
    def closed(self) -> int:
        return len(self._classes)

    @property
    def closed_elements(self) -> int:
        """Elements that are quantised; values that wait for others of their class are not."""
        return self._elements

    def after(self, query: Array, weights: Array) -> None:
        if self._ranking:
            self._ranking.add(weights)
        if self.time == self._system.prompt:
            self._mask = vidkv.channel_mask(self.keys[:, : self.time], self._system.fraction)
        while self.time >= self._system.prompt and self.time - _WINDOW >= self.closed + GROUP:
            self._close(np.arange(self.closed, self.closed + GROUP))

    def _close(self, tokens: NDArray[np.intp]) -> None:
        """Quantise the keys of 32 tokens, and the values of a class that is complete."""
        system = self._system
        keys = vidkv.quantize_keys(
            self.keys[:, tokens], self._mask, transform=system.transform, decode=system.key_decode
        )
        self.keys[:, tokens] = keys.decompress()
        # The mask is the layer's, once.
        self._count(keys.bits_per_element, GROUP, -self.channels)
        protected = self._protected(tokens)
        self._classes = np.concatenate([self._classes, protected])
        for kind, own in ((False, tokens[~protected]), (True, tokens[protected])):
            waiting = np.concatenate([self._waiting[kind], own])
            whole = len(waiting) // GROUP * GROUP
            self._waiting[kind] = waiting[whole:]
            if whole:
                self._store(waiting[:whole], kind)

    def _store(self, tokens: NDArray[np.intp], protected: bool) -> None:
        """Quantise values of one class."""
        marks = np.full(len(tokens), True) if protected else None
        values = vidkv.quantize_values(
            self.values[:, tokens], self._system.gamma, self._system.decode, protected=marks
        )
        self.values[:, tokens] = values.decompress()
        # The bitmap of the classes is counted with the tokens.
        self._count(values.bits_per_element, len(tokens), -len(tokens) if protected else 0)

    def _count(self, bits_per_element: float, tokens: int, more: int) -> None:
        elements = self.heads * tokens * self.channels
        self._bits += bits_per_element * elements + more
        self._elements += elements

    def _protected(self, tokens: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of these tokens are protected, so that all so far have their share."""
        chosen = np.zeros(len(tokens), bool)
        if self._ranking:
            count = (self.closed + len(tokens)) * self._system.protect // 100 - int(self._classes.sum())
            scores = self._ranking.scores().sum((0, 1))[tokens]
            chosen[np.argsort(-scores, kind="stable")[:count]] = True
        return chosen
