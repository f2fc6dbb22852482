"""Rotary embedding (RoFormer, arXiv 2104.09864): angles per position of pairs of channels, and the turning.

A scaling changes the angles of a model that was trained on shorter texts:

* ``linear``: all are divided by a factor (position interpolation, arXiv 2306.15595);
* ``llama3``: only those of long waves are; between two wave lengths the divisor fades in.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALINGS", "Turn", "frequencies", "rotate", "turn"]

Angles = NDArray[np.float64]
Array = NDArray[np.float32]
Turn = Callable[[Array, Array, Array, Array], tuple[NDArray[np.floating], NDArray[np.floating]]]
"""The two halves of pairs, their cosines and their sines, to the halves of the pairs turned."""


def frequencies(channels: int, base: float) -> Angles:
    """Angles per position in radians, float64 [channels / 2], of a geometric series of wave lengths."""
    half = channels // 2
    return base ** (-np.arange(half) / half)


def _linear(angles: Angles, factor: float) -> Angles:
    return angles / factor


def _llama3(
    angles: Angles,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_max_position_embeddings: float,
) -> Angles:
    turns = original_max_position_embeddings * angles / (2 * np.pi)  # within the trained context
    kept = np.clip((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0, 1)
    return angles * (kept + (1 - kept) / factor)


SCALINGS: Mapping[str, tuple[Callable[..., Angles], tuple[str, ...]]] = {
    "default": (lambda angles: angles, ()),
    "none": (lambda angles: angles, ()),
    "linear": (_linear, ("factor",)),
    "llama3": (
        _llama3,
        ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    ),
}
"""Scalings by name: what they do to angles, and the names of what they need."""


def turn(a: Array, b: Array, cosine: Array, sine: Array) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Pairs (a, b), turned, in float32."""
    return a * cosine - b * sine, a * sine + b * cosine


def rotate(x: Array, first: int, angles: Angles, paired: bool, turn: Turn = turn) -> Array:
    """Turn the first ``2 * len(angles)`` channels; the others stay.

    Args:
        x: float32 [n, heads, D].
        first: position of the first token.
        angles: per position, of each pair.
        paired: a pair is two neighbours (llama2.c); otherwise one channel of each half of those turned.
        turn: turns them.
    """
    half = len(angles)
    steps = np.arange(first, first + len(x))[:, None, None] * angles
    cosine, sine = np.cos(steps).astype(np.float32), np.sin(steps).astype(np.float32)
    own, rest = x[..., : 2 * half], x[..., 2 * half :]
    one, other = (own[..., 0::2], own[..., 1::2]) if paired else (own[..., :half], own[..., half:])
    turned = turn(one, other, cosine, sine)
    if paired:
        turned = (np.stack(turned, -1).reshape(own.shape),)
    return np.concatenate([*turned, rest], -1, dtype=np.float32)
