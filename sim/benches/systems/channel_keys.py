"""Keys whose ranges are hard to tell apart, or at the ends of float16."""

import random

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "random_keys"]

KINDS = ("loud", "constant", "equal", "outlier", "subnormal", "largest", "apart")


def random_keys(kind: str, heads: int, tokens: int, channels: int) -> NDArray[np.float16]:
    """Keys ``[heads, tokens, channels]``."""
    rng = np.random.default_rng(random.getrandbits(32))
    shape = heads, tokens, channels
    normal = rng.standard_normal(shape)
    if kind == "loud":
        found = normal * 2.0 ** rng.integers(-3, 5, channels)
    elif kind == "constant":  # constants of both signs, zeros of both signs
        found = np.broadcast_to(rng.choice([0.0, 1.5, -65504, 2.0**-24], channels), shape).copy()
        found = np.where(found == 0, rng.choice([0.0, -0.0], shape), found)
    elif kind == "equal":  # few ranges, at different places
        place = rng.choice([-1.0, 0.0, 3.0], channels)
        found = place + rng.choice([0.0, 0.5], shape) * rng.choice([1, 2], channels)
    elif kind == "outlier":
        found = normal * 0.1
        found[rng.integers(heads), rng.integers(tokens), rng.integers(channels)] = rng.choice([-3e4, 3e4])
    elif kind == "subnormal":  # often ranges that differ by one unit
        most = rng.choice([1, 3, 1023])
        found = rng.integers(-most, most + 1, shape) * 2.0**-24
    elif kind == "largest":
        found = rng.choice([-65504.0, 65504, 65472, 0], shape)
    else:  # ranges that differ by the smallest numbers, beyond what a score tells apart
        found = rng.choice([0.0, 2.0**-24, 2.0**-13, -(2.0**-20)], shape)
        found[0, 0] = rng.choice([32.0, 33, 65504], channels)
    return found.astype(np.float16)
