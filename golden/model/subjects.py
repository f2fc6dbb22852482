"""Subjects of an evaluation: a model and what it reads, cut into windows.

A window is a piece of a text, a sample of the model itself, or a sound. For sounds the predicted tokens are
the full-precision model's own transcript, and the divergence from its distribution is kept beside the loss. A
scheme is that of the frames it hears; its own tokens, at most a hundred, stay as they are.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint import Checkpoint
from golden.model.attention import Memory
from golden.model.calibration import Importance, mean_squares
from golden.model.evaluation import Setting, Window
from golden.model.linear import Factory
from golden.model.llama import Llama
from golden.model.mel import spectrogram
from golden.model.perplexity import log_softmax, losses
from golden.model.recipes import Quantized
from golden.model.whisper import Whisper

__all__ = ["Sounds", "Text", "digest", "importance"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Text:
    """A llama model and windows of token ids, and what makes other ones to calibrate with.

    With ``scored`` only so many of each window's last tokens count.
    """

    checkpoint: Checkpoint
    parts: Sequence[NDArray[np.int64]]
    channels: int
    calibration: Callable[[], Sequence[NDArray[np.int64]]] = tuple
    scored: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.parts)

    def identity(self, setting: Setting) -> dict[str, Any]:
        """Hashes of the model's file and of the windows' ids."""
        calibration = digest(self.calibration()) if setting.calibrated else None
        scored = {} if self.scored is None else {"scored": list(self.scored)}
        own = {"model": self.checkpoint.sha256, "text": digest(self.parts), "calibration": calibration}
        return own | scored

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object], made: Callable[[Memory], object]
    ) -> Callable[[], Iterator[Window]]:
        """Make the model; what is returned reads."""
        linear = setting.linear(note, self._importance, self.checkpoint.__getitem__)
        model = Llama(self.checkpoint, linear, output=setting.output, operations=setting.operations)

        count = model.architecture.layers
        places = cycle(range(count))  # memories are made layer by layer, once for each part

        def memory(heads: int, channels: int) -> Memory:
            own = setting.memory(heads, channels, place=(next(places), count))
            made(own)
            return own

        def read() -> Iterator[Window]:
            counts = self.scored or map(len, self.parts)
            for loss, count in zip(losses(model, self.parts, memory), counts, strict=True):
                own = loss[-count:]
                yield len(own), float(own.mean()), None

        return read

    def _importance(self) -> Importance:
        _check(parts := self.calibration())
        return importance(self.checkpoint, parts)


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
        self._digests = digest(signals), digest(calibration)
        self.calibration = [spectrogram(signal) for signal in calibration]
        self.spectrograms = [spectrogram(signal) for signal in signals]
        model = Whisper(checkpoint)
        self.channels = model.channels
        self._frames = [model.encode(one) for one in self.spectrograms]
        self.transcripts, self._base = zip(*(self._listen(model, one) for one in self._frames), strict=True)

    def __len__(self) -> int:
        return len(self.spectrograms)

    def identity(self, setting: Setting) -> dict[str, Any]:
        """Hashes of the model's file and of the sounds' samples, and how they are transcribed."""
        text, calibration = self._digests
        return {
            "model": self.checkpoint.sha256,
            "text": text,
            "transcript": [*self.start, self.end, self.most],
            "calibration": calibration if setting.calibrated else None,
        }

    def _listen(self, model: Whisper, frames: Array) -> tuple[list[int], Array]:
        """Greedy transcript with its end, and the logarithm of each token's distribution."""
        memories = model.memories(frames)
        new, said, rows = list(self.start), [], []
        while len(said) < self.most and (not said or said[-1] != self.end):
            rows.append(log_softmax(model.logits(model.hidden(new, memories)[-1:]))[0])
            new = [int(rows[-1].argmax())]
            said += new
        return said, np.array(rows)

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object], made: Callable[[Memory], object]
    ) -> Callable[[], Iterator[Window]]:
        """Make the model; what is returned reads."""
        if setting.head is not None:
            raise ValueError(f"head {setting.head!r} must be that of a llama model")
        if setting.numerics is not None:
            raise ValueError(f"numerics {setting.numerics!r} must be those of a llama model")
        model = Whisper(self.checkpoint, setting.linear(note, self._importance, self.checkpoint.__getitem__))

        def cross(heads: int, channels: int) -> Memory:
            own = setting.frames(heads, channels, len(self.start))
            made(own)
            return own

        def read() -> Iterator[Window]:
            heard = self._frames if setting.full_precision else map(model.encode, self.spectrograms)
            for frames, said, base in zip(heard, self.transcripts, self._base, strict=True):
                memories = model.memories(frames, cross=cross)
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
                self._listen(model, model.encode(sound))

        _check(self.calibration)
        return mean_squares(run)


def importance(checkpoint: Checkpoint, parts: Sequence[NDArray[np.int64]]) -> Importance:
    """Of the inputs of a llama model's linear layers, on windows of ids."""

    def run(watching: Factory) -> None:
        model = Llama(checkpoint, watching)
        for part in parts:
            model.hidden(part)

    return mean_squares(run)


def digest(parts: Iterable[NDArray]) -> str:
    """SHA-256 of arrays: types, shapes and elements of one after the other."""
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
    return found.hexdigest()


def _check(calibration: Sequence[NDArray]) -> None:
    if not len(calibration):
        raise ValueError("a calibrated recipe needs something to calibrate with")
