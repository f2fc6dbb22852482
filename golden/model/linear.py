"""Linear layers of a model: what stands for the product with a matrix of weights."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factory", "Linear", "dense"]

Array = NDArray[np.float32]
Linear = Callable[[Array], Array]
"""Inputs [n, C] to outputs [n, K], both float32."""

Factory = Callable[[str, Array], Linear]
"""Makes the layer of a tensor's name and its weights, float32 [K, C]."""


def dense(name: str, weights: Array) -> Linear:
    """The product in float32."""
    return lambda x: x @ weights.T
