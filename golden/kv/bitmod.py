"""BitMoD's data types on the cache: FP4 or FP3 whose unused code is one of four special values of a group.

``golden.numbers.datatypes`` has the values, integers of up to 16. BitMoD (HPCA 2025, section III) has them
for weights, its journal extension (IEEE Trans. Computers 2026) for groups of a cache too. For every special
value s in the order of the data type

    scale = largest magnitude / largest magnitude of the values with s, rounded to float16; at least 2^-24
    code  = that of the value nearest to x / scale, a tie to the smaller value
    error = sum of (x - value * scale)^2

and the group takes the one with the least error, of equal ones the first; s is kept as its number, the
selector. A group of zeros has scale 0, codes 0 and selector 0. The first special value's scale is that of
plain FP4 or FP3, so a group is never worse than it is there.

Nothing of this is approximate, and a circuit needs little for it. An element below 1/32 of the largest
magnitude a has the code of 0 whichever s is chosen, and adds the same to all four errors. It is left out. The
others and all scales are whole multiples of 2^-15 of the power of two at or below a, elements and differences
below 2^16 of them: 16 bits, 32 squared, 39 summed over 128. Float32 is enough for the quotient: x has 11
significant bits and a midpoint times the scale at most 16, so that a quotient cannot miss a midpoint by less
than 2^-17 in relative terms.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized, per_group
from golden.numbers import datatypes
from golden.weights.search import Nearest

__all__ = ["TYPES", "integers", "quantize"]

TYPES = {"bitmod3": 3, "bitmod4": 4}
"""Names of the data types and their bits."""

_UNIT = 2.0**-24
_RELEVANT = 32
"""Elements below the largest magnitude over this have the value 0 with every special value."""


def quantize(x: ArrayLike, name: str, axis: str = "token", group: int | None = 32) -> Quantized:
    """Quantise keys or values.

    Args:
        x: real [..., T, D], rounded to float16 first.
        name: one of ``TYPES``.
        axis, group: as for ``golden.kv.affine.quantize``.

    Returns:
        Codes and scales, and the selectors, uint8 0..3, in the place of zeros.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    dtype = datatypes.get(name)
    half, elements, reduced = magnitudes.grouped_half(x, axis, group)
    exact = elements.astype(np.float64)
    sizes = np.abs(exact)
    largest = sizes.max(reduced, keepdims=True)
    relevant = _RELEVANT * sizes >= largest
    nearest = Nearest(dtype)
    least = np.full(largest.shape, np.inf)
    codes = np.zeros(elements.shape, np.uint8)
    scale, selector = np.zeros_like(largest), np.zeros(largest.shape, np.uint8)
    for number in range(len(dtype.specials)):
        own = (largest / np.abs(dtype.values(number)).max()).astype(np.float16).astype(np.float64)
        own = np.where(largest > 0, np.maximum(own, _UNIT), 0)
        quotient = (exact / np.where(own > 0, own, 1)).astype(np.float32)
        difference = (exact - nearest.value(quotient, number, 0) * own) * relevant
        error = np.square(difference).sum(reduced, keepdims=True)  # exact, see above
        better = error < least
        codes = np.where(better, nearest.code(quotient, number, 0), codes)
        scale, selector = np.where(better, own, scale), np.where(better, number, selector).astype(np.uint8)
        least = np.minimum(error, least)
    scale, selector = (
        per_group(part.squeeze(reduced), half.shape, axis) for part in (scale.astype(np.float16), selector)
    )
    return Quantized(codes.reshape(half.shape), scale, selector)


def integers(codes: NDArray[np.uint8], selector: NDArray[np.uint8], name: str) -> NDArray[np.int16]:
    """The integers that codes stand for, int16 [..., T, D].

    Args:
        codes: [..., T, D].
        selector: 0..3 for every code, in its shape.
        name: one of ``TYPES``.
    """
    dtype = datatypes.get(name)
    values = np.stack([dtype.values(number) for number in range(len(dtype.specials))])
    return values[selector, codes].astype(np.int16)
