"""Sums of a page's values with their weights, on the grid of the head's value sums.

    sum[c] = sum over t of weight[t] * value[t,c]    in units of 2^(top - 38) (``golden.attention.widths``)

Steps by token are folded into the weights; steps by channel go through the array's rescaler. Roundings, in
order, to nearest even unless stated:

1. values by token: each product weight * offset and weight * step * centre of a group of channels to 2^-12
   of the grid, ties up; their exact sum, the page's offset term, to the grid, ties up;
2. weight * step to tf32 and to aligned integers of ``numerics.activation_bits``, in runs of
   ``numerics.group`` tokens; for values by channel the weights themselves, in the format's groups;
3. values by token: each run's exact integer dot product to the grid, ties up;
   values by channel: the array's result to float32 (``golden.attention.product.rescaled``), with steps and
   offsets, and to the grid, ties up.
"""

import numpy as np
from numpy.typing import NDArray

from golden.attention import widths
from golden.attention.page import Page
from golden.attention.product import Real, aligned, dots, rescaled
from golden.attention.rounding import nearest, shifted
from golden.numbers.numerics import Numerics

__all__ = ["sums"]


def sums(weights: Real, page: Page, top: NDArray[np.int64], numerics: Numerics) -> NDArray[np.int64]:
    """Weighted sums of P values.

    Args:
        weights: [N, P] of tf32 numbers.
        page: P values.
        top: int64 [N], exponent field that no step or offset of the head's values exceeds.
        numerics: widths.

    Returns:
        int64 [N, D].
    """
    grid = widths.sum_exponent(top)[:, None]
    fine = grid - widths.TERM_EXTRA
    if page.axis == "channel":
        group = page.integers.shape[0] // page.step.shape[0]
        vectors = aligned(weights, group, numerics)
        scale = (page.step.T, page.offset.T)
        return nearest(rescaled(vectors, page.integers.T, group, page.dtype, numerics, scale, top), grid)
    channels = page.integers.shape[1] // page.step.shape[1]
    run, parts = min(len(page.integers), numerics.group), []
    for number, (step, offset) in enumerate(zip(page.step.T, page.offset.T, strict=True)):
        own = page.integers.T[number * channels : (number + 1) * channels]
        exact = weights * step.astype(np.float64)
        term = nearest(weights * offset.astype(np.float64), fine).sum(-1)
        if page.centre:
            term += nearest(exact * page.centre, fine).sum(-1)
        vectors = aligned(exact, run, numerics)
        unit = np.exp2(vectors.unit_exponents.astype(np.float64))
        main = nearest(dots(vectors, own, run) * unit[:, None], grid[..., None]).sum(-1)
        parts.append(main + shifted(term, widths.TERM_EXTRA)[:, None])
    return np.concatenate(parts, -1)
