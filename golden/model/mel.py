"""Whisper's front end: a sound to a log-mel spectrogram (arXiv 2212.04356, section 2.2).

Frames of 400 samples every 160 (25 and 10 ms), Hann window, power spectrum, 80 triangular filters on Slaney's
mel scale, logarithm to base 10, floored 8 below its maximum, brought to about -1..1.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["RATE", "SECONDS", "filters", "spectrogram"]

RATE = 16_000
"""Samples a second."""

SECONDS = 30
"""Length of the window that Whisper hears, in seconds."""

_FRAME, _HOP, _BANDS = 400, 160, 80
_STEP = 200 / 3  # hertz a mel below 1 kHz, where the scale becomes logarithmic: 27 mels for a factor of 6.4
_KNEE = 1000.0 / _STEP
_GROWTH = np.log(6.4) / 27


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies of places on Slaney's mel scale."""
    return np.where(mel < _KNEE, _STEP * mel, 1000.0 * np.exp(_GROWTH * (mel - _KNEE)))


@cache
def filters() -> NDArray[np.float32]:
    """Triangular filters of unit area, float32 [80, 201]."""
    top = _KNEE + np.log(RATE / 2 / 1000.0) / _GROWTH
    edges = _hertz(np.linspace(0, top, _BANDS + 2))
    bins = np.linspace(0, RATE / 2, _FRAME // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(np.minimum(rising, falling), 0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def spectrogram(signal: ArrayLike) -> NDArray[np.float32]:
    """Log-mel spectrogram of a sound, cut or filled with silence to 30 seconds.

    Args:
        signal: samples [n] within about -1..1, 16,000 a second.

    Returns:
        float32 [80, 3000].
    """
    length = RATE * SECONDS
    samples = np.zeros(length)
    sound = np.asarray(signal, np.float64)[:length]
    samples[: len(sound)] = sound
    padded = np.pad(samples, _FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][: length // _HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)
    power = np.square(np.abs(np.fft.rfft(frames * window)))
    bands = np.log10(np.maximum(filters() @ power.T, 1e-10))
    return ((np.maximum(bands, bands.max() - 8) + 4) / 4).astype(np.float32)
