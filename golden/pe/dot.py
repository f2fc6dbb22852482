"""Group dot products: P[o,g], the exact integer that a row of the array computes.

    P[o,g] = sum over c in g of a[c] * v(code[o,c])

with aligned activations ``a`` (``golden.activations.aligner``) and code values ``v``
(``golden.numbers.datatypes``). Nothing is rounded, and int64 holds it.
"""

import numpy as np

__all__ = ["group_dot"]


def group_dot(activations: np.ndarray, values: np.ndarray, group: int) -> np.ndarray:
    """Dot products of every output with every group of one activation vector.

    Args:
        activations: int, shape [C], aligned.
        values: int, shape [K, C], code values in integer units.
        group: elements of a group; the last one may be shorter.

    Returns:
        int64, shape [K, D].
    """
    starts = np.arange(0, values.shape[1], group)
    products = values.astype(np.int64) * activations.astype(np.int64)
    return np.add.reduceat(products, starts, axis=1)
