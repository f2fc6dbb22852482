"""How much a layer's attention suffers from few bits: KVTuner's errors, from what really happens in a model.

Queries, keys and values of a text (``golden.model.capture``) give every layer's outputs; the error of a pair
of widths is

    sum of (output with quantised keys and values - output)^2 / sum of output^2

over all heads and tokens, everything quantised, each query's own token included. KVTuner (arXiv 2502.04420,
section 5.3) prunes by such relative errors. They are squared here, because squares of errors that do not
correlate add.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from golden.kv.schemes import Scheme
from golden.model.attention import BLOCK, scores, softmax, weighted
from golden.model.kv_schemes import restored

__all__ = ["errors"]

Array = NDArray[np.float32]


def errors(
    query: Array,
    keys: Array,
    values: Array,
    pairs: Sequence[tuple[int, int]],
    base: Callable[[int, int], Scheme],
    window: int | None = None,
) -> NDArray[np.float64]:
    """Relative squared errors of one layer's attention.

    Args:
        query: float32 [H, R, T, D], not scaled.
        keys, values: float32 [H, T, D].
        pairs: widths of keys and of values.
        base: the scheme of such a pair.
        window: how many of the newest keys a query sees; None for all.

    Returns:
        [P], one for each pair.
    """
    made = {(key, value): base(key, value) for key, value in pairs}
    coded_keys, coded_values = {}, {}
    for (key, value), scheme in made.items():
        if key not in coded_keys:
            coded_keys[key] = restored(scheme.key, scheme.page, keys)
        if value not in coded_values:
            coded_values[value] = restored(scheme.value, scheme.page, values)
    power, lost = 0.0, dict.fromkeys(made, 0.0)
    for first in range(0, query.shape[2], BLOCK):
        rows = query[:, :, first : first + BLOCK]
        last = first + rows.shape[2]
        exact = weighted(softmax(scores(rows, keys[:, :last]), first, window), values[:, :last])
        power += float(np.square(exact, dtype=np.float64).sum())
        for key, own in coded_keys.items():
            weights = softmax(scores(rows, own[:, :last]), first, window)
            for value in [value for one, value in made if one == key]:
                difference = weighted(weights, coded_values[value][:, :last]) - exact
                lost[key, value] += float(np.square(difference, dtype=np.float64).sum())
    return np.array([lost[key, value] / power if power else 0.0 for key, value in pairs])
