"""Evaluation: how well a model still predicts, with its weights, activations and cache in some setting.

What is read is cut into windows: pieces of a text, samples of the model itself, or sounds. A result keeps
each window's mean loss, so that two settings can be compared window by window. For sounds the predicted
tokens are the full-precision model's own transcript, and the divergence from its distribution is kept too.
"""

import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from golden.kv.schemes import SCHEMES
from golden.model.attention import Memory, Plain
from golden.model.calibration import Importance, mean_squares
from golden.model.checkpoint import Checkpoint
from golden.model.kv_schemes import QuantizedMemory
from golden.model.linear import Factory
from golden.model.llama import Llama
from golden.model.mel import spectrogram
from golden.model.perplexity import Difference, compare, log_softmax, losses
from golden.model.recipes import RECIPES, Quantized, Recipe, factory
from golden.model.whisper import Whisper

__all__ = ["Result", "Setting", "Sounds", "Subject", "Text", "evaluate"]

Array = NDArray[np.float32]
Window = tuple[int, float, float | None]
"""Tokens that were scored, their mean loss, and for sounds their mean divergence, both in nats."""


@dataclass(frozen=True)
class Setting:
    """What is quantised, and how.

    Attributes:
        weights: a name in ``golden.model.recipes.RECIPES``, or "none".
        activations: "fp32", "fp16", or the width "8".."16" they are aligned to.
        kv: a name in ``golden.kv.schemes.SCHEMES``, or "none".
        group, scale, search: replace those of the recipe.
    """

    weights: str = "none"
    activations: str = "fp32"
    kv: str = "none"
    group: int | None = None
    scale: str | None = None
    search: str | None = None

    @property
    def name(self) -> str:
        """A name that tells settings apart."""
        return "-".join(str(part) for part in asdict(self).values() if part is not None)

    @property
    def recipe(self) -> Recipe | None:
        """How the weights are quantised."""
        return None if self.weights == "none" else replace(RECIPES[self.weights], **self.changes)

    @property
    def changes(self) -> dict[str, Any]:
        """What replaces the recipe's own."""
        own = {"group": self.group, "scale": self.scale, "search": self.search}
        return {name: value for name, value in own.items() if value is not None}

    def linear(
        self,
        note: Callable[[Quantized], object] | None = None,
        calibrate: Callable[[], Importance] | None = None,
    ) -> Factory:
        """What makes the linear layers; ``calibrate`` is called where the recipe needs it."""
        width = {"fp32": None, "fp16": "fp16"}.get(self.activations, self.activations)
        activations = int(width) if width and width.isdecimal() else width
        needed = self.recipe is not None and self.recipe.calibrated and calibrate is not None
        return factory(self.recipe, activations, None, note, calibrate() if needed and calibrate else None)

    def memory(self, heads: int, channels: int, causal: bool = True) -> Memory:
        """A layer's memory of keys and values."""
        if self.kv == "none":
            return Plain(heads, channels, causal)
        return QuantizedMemory(heads, channels, SCHEMES[self.kv], causal)


@dataclass(frozen=True)
class Result:
    """What a setting did.

    Attributes:
        setting: the setting.
        windows: one for each piece of what was read.
        bits_per_weight: of the linear layers, metadata included; None where they are as stored.
        kv_bits: of a quantised element of the cache, metadata included; None without quantisation.
        prepared, seconds: time to make the layers, and to read.
        memory: largest resident memory of the process so far, in bytes.
    """

    setting: Setting
    windows: list[Window]
    bits_per_weight: float | None
    kv_bits: float | None
    prepared: float
    seconds: float
    memory: int

    @property
    def tokens(self) -> int:
        """Tokens that were scored."""
        return sum(count for count, _, _ in self.windows)

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss."""
        return float(np.exp(sum(count * mean for count, mean, _ in self.windows) / self.tokens))

    @property
    def divergence(self) -> float | None:
        """Mean Kullback-Leibler divergence from full precision in nats, for sounds."""
        known = [(count, mean) for count, _, mean in self.windows if mean is not None]
        return sum(count * mean for count, mean in known) / self.tokens if known else None

    def against(self, base: "Result") -> Difference:
        """Paired difference of the loss, with its standard error over windows (NaN for a single one)."""
        return self._paired(*([mean for _, mean, _ in one.windows] for one in (self, base)))

    def diverging(self, base: "Result") -> Difference | None:
        """Paired difference of the divergence from full precision, for sounds."""
        own, other = ([mean for _, _, mean in one.windows if mean is not None] for one in (self, base))
        return self._paired(own, other) if own else None

    def _paired(self, own: Sequence[float], other: Sequence[float]) -> Difference:
        differences = [mean - base for mean, base in zip(own, other, strict=True)]
        return compare([count for count, _, _ in self.windows], differences)

    def as_json(self) -> dict[str, Any]:
        """For a file; ``from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Result":
        """The inverse of ``as_json``."""
        windows = [(count, loss, divergence) for count, loss, divergence in content["windows"]]
        return cls(**content | {"setting": Setting(**content["setting"]), "windows": windows})


class Subject(Protocol):
    """A model and what it reads."""

    @property
    def channels(self) -> int: ...

    def __len__(self) -> int: ...

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object]
    ) -> Callable[[], Iterator[Window]]: ...


@dataclass(frozen=True)
class Text:
    """A llama model and windows of token ids, and what makes other ones to calibrate with."""

    checkpoint: Checkpoint
    parts: Sequence[NDArray[np.int64]]
    channels: int
    calibration: Callable[[], Sequence[NDArray[np.int64]]] = tuple

    def __len__(self) -> int:
        return len(self.parts)

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object]
    ) -> Callable[[], Iterator[Window]]:
        """Make the model; what is returned reads."""
        model = Llama(self.checkpoint, setting.linear(note, self._importance))

        def read() -> Iterator[Window]:
            for loss in losses(model, self.parts, setting.memory):
                yield len(loss), float(loss.mean()), None

        return read

    def _importance(self) -> Importance:
        def run(watching: Factory) -> None:
            model = Llama(self.checkpoint, watching)
            for part in parts:
                model.hidden(part)

        _check(parts := self.calibration())
        return mean_squares(run)


class Sounds:
    """Whisper and sounds; tokens after ``start`` that full precision would say, up to ``most`` a sound.

    Args:
        checkpoint: of Whisper.
        signals: samples [n] each, 16,000 a second.
        start: ids that a transcript begins with; ``end``: the id that ends it.
        calibration: other sounds, to calibrate with.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        signals: Sequence[NDArray[np.floating]],
        start: Sequence[int] = (50257, 50362),
        end: int = 50256,
        most: int = 100,
        calibration: Sequence[NDArray[np.floating]] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.start, self.end, self.most = tuple(start), end, most
        self.calibration = [spectrogram(signal) for signal in calibration]
        self.spectrograms = [spectrogram(signal) for signal in signals]
        model = Whisper(checkpoint)
        self.channels = model.channels
        self.transcripts, self._base = zip(
            *(self._listen(model, one) for one in self.spectrograms), strict=True
        )

    def __len__(self) -> int:
        return len(self.spectrograms)

    def _listen(self, model: Whisper, sound: Array) -> tuple[list[int], Array]:
        """Greedy transcript with its end, and the logarithm of each token's distribution."""
        memories = model.memories(model.encode(sound))
        new, said, rows = list(self.start), [], []
        while len(said) < self.most and (not said or said[-1] != self.end):
            rows.append(log_softmax(model.logits(model.hidden(new, memories)[-1:]))[0])
            new = [int(rows[-1].argmax())]
            said += new
        return said, np.array(rows)

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object]
    ) -> Callable[[], Iterator[Window]]:
        """Make the model; what is returned reads."""
        model = Whisper(self.checkpoint, setting.linear(note, self._importance))

        def cross(heads: int, channels: int) -> Memory:
            return setting.memory(heads, channels, causal=False)

        def read() -> Iterator[Window]:
            for sound, said, base in zip(self.spectrograms, self.transcripts, self._base, strict=True):
                memories = model.memories(model.encode(sound), setting.memory, cross)
                hidden = model.hidden([*self.start, *said[:-1]], memories)[len(self.start) - 1 :]
                own = log_softmax(model.logits(hidden))
                loss = -own[np.arange(len(said)), said].mean(dtype=np.float64)
                divergence = (np.exp(base) * (base - own)).sum(-1, dtype=np.float64).mean()
                yield len(said), float(loss), float(divergence)

        return read

    def _importance(self) -> Importance:
        def run(watching: Factory) -> None:
            model = Whisper(self.checkpoint, watching)
            for sound in self.calibration:
                self._listen(model, sound)

        _check(self.calibration)
        return mean_squares(run)


def _check(calibration: Sequence[NDArray]) -> None:
    if not len(calibration):
        raise ValueError("a calibrated recipe needs something to calibrate with")


def evaluate(
    subject: Subject, setting: Setting, step: Callable[[list[Window]], object] | None = None
) -> Result:
    """Read everything in one setting.

    Args:
        subject: model and text or sounds.
        setting: what is quantised.
        step: is called after each window with those so far.

    Raises:
        ValueError: a recipe or scheme does not fit the model.
    """
    begin, bits = time.monotonic(), [0.0, 0]

    def note(q: Quantized) -> None:
        size = math.prod(q.shape)
        bits[0] += q.bits_per_weight * size
        bits[1] += size

    read = subject.prepare(setting, note)
    middle, found = time.monotonic(), []
    for window in read():
        found.append(window)
        if step is not None:
            step(found)
    return Result(
        setting,
        found,
        bits[0] / bits[1] if bits[1] else None,
        SCHEMES[setting.kv].bits_per_element(subject.channels) if setting.kv != "none" else None,
        round(middle - begin, 3),
        round(time.monotonic() - middle, 3),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
