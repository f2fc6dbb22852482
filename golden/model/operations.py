"""Operations on vectors between the matrices of a model: in float32, or as the decode core works them out."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden import vector
from golden.model import rope
from golden.vector.arithmetic import add

__all__ = ["CORE", "FLOAT", "Operations"]

Array = NDArray[np.float32]


class Operations(NamedTuple):
    """One way to do them.

    Attributes:
        add: sums of arrays of one shape.
        norm: RMSNorm along the last axis, of an array, weights [D] and epsilon.
        turn: of rotary pairs, see ``golden.model.rope.Turn``.
        silu_multiply: a * sigmoid(a) * b.
    """

    add: Callable[[Array, Array], Array]
    norm: Callable[[Array, Array, float], Array]
    turn: rope.Turn
    silu_multiply: Callable[[Array, Array], Array]


def _norm(x: Array, weights: Array, epsilon: float) -> Array:
    mean = np.square(x).mean(-1, keepdims=True)
    return x / np.sqrt(mean + np.float32(epsilon)) * weights


def _silu_multiply(a: Array, b: Array) -> Array:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, its reciprocal 0
        return np.divide(a, 1 + np.exp(-a), dtype=np.float32) * b


def _core_norm(x: Array, weights: Array, epsilon: float) -> Array:
    """As of vectors that are filled up with zeros to whole rows of the partial sums."""
    own = len(weights)
    rest = -own % vector.SUMS
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rest)])
    segment = own + rest
    numbers = np.float32(epsilon), np.float32(1 / own)
    found = vector.norm(wide.reshape(-1), np.pad(weights, (0, rest)), segment, *numbers)
    return found.reshape(wide.shape)[..., :own]


FLOAT = Operations(np.add, _norm, rope.turn, _silu_multiply)
"""In float32, in NumPy's order."""

CORE = Operations(add, _core_norm, vector.turn, vector.silu_multiply)
"""Bit for bit those of ``golden.vector``."""
