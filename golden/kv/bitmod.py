"""BitMoD's data types on the cache: FP4 or FP3 whose unused code is one of four special values of a group.

``golden.numbers.datatypes`` has the values, integers of up to 16. BitMoD (HPCA 2025, section III) has them
for weights, its journal extension (IEEE Trans. Computers 2026) for groups of a cache too. With a special
value s

    scale = largest magnitude / largest magnitude of the values with s, rounded to float16; at least 2^-24
    code  = that of the value nearest to x / scale, a tie to the smaller value

s is kept as its number, the selector. A group of zeros has scale 0, codes 0 and selector 0. There are two
ways to choose s:

* ``exhaustive``: the published search, for every s in the order of the data type the sum of (x - value *
  scale)^2, and of equal ones the first;
* ``table``: what a circuit does while elements stream by, before there is any scale. s decides about the
  scale by its magnitude only: an inner special value leaves it as it is in plain FP4 or FP3, an outer one is
  the largest value itself. So the error of an element, in the units of the group's largest magnitude a, is a
  function of |x| / a alone, once for each of the two scales, and for each of them there is what its special
  value saves if it has the sign of x. Three sums over the group decide:

      inner, outer = sum of what the special value saves, less where x is negative
      balance      = sum of how much more the inner scale costs than the outer one, both with half of what
                     their special values save, twice

  The inner scale is chosen unless ``balance - |inner| + |outer|`` is positive, and the sign that saves more,
  of equal ones the positive one. The functions are tables over floor(64 |x| / a) of integers in units of
  a^2 / 1024 (``savings``). Against the exhaustive search the squared error grows by less than 1 %
  (``tests/kv/test_bitmod.py``).

Nothing of the exhaustive search is approximate. An element below 1/32 of the largest magnitude a has the code
of 0 whichever s is chosen, and adds the same to all four errors. It is left out. The others and all scales
are whole multiples of 2^-15 of the power of two at or below a, elements and differences below 2^16 of them:
16 bits, 32 squared, 39 summed over 128. Float32 is enough for the quotient: x has 11 significant bits and a
midpoint times the scale at most 16, so that a quotient cannot miss a midpoint by less than 2^-17 in relative
terms.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized, per_group
from golden.numbers import datatypes
from golden.weights.search import Nearest

__all__ = ["INDEX_BITS", "SEARCHES", "TYPES", "Savings", "integers", "magnitudes_with", "quantize", "savings"]

TYPES = {"bitmod3": 3, "bitmod4": 4}
"""Names of the data types and their bits."""

SEARCHES = ("table", "exhaustive")

INDEX_BITS = 6
"""Fraction bits of |x| / a in the index of a table."""

_SCORE_UNITS = 1 << 10
"""Units of a table's integers in a^2."""

_UNIT = 2.0**-24
_RELEVANT = 32
"""Elements below the largest magnitude over this have the value 0 with every special value."""


class Savings(NamedTuple):
    """Tables by floor(64 |x| / a), 65 integers each, in units of a^2 / 1024.

    Attributes:
        inner, outer: squared error that the special value of this scale takes away, at its own sign.
        balance: twice the squared error of the inner scale less ``inner``, less that of the outer one.
    """

    inner: tuple[int, ...]
    outer: tuple[int, ...]
    balance: tuple[int, ...]


def magnitudes_with(name: str, special: int | None) -> tuple[int, ...]:
    """Magnitudes of a type, ascending, with that of a special value where the sign has one."""
    plain = {abs(value) for value in datatypes.get(name).integers if value is not None}
    return tuple(sorted(plain | ({abs(special)} if special else set())))


@cache
def savings(name: str) -> Savings:
    """The tables of a type; errors are those in the middle of what an index stands for, of 64 at a itself.

    Args:
        name: one of ``TYPES``.
    """
    index = np.arange((1 << INDEX_BITS) + 1)
    ratio = np.minimum((index + 0.5) / (1 << INDEX_BITS), 1)
    plain, saved = [], []
    for special in datatypes.get(name).specials[::2]:
        largest = max(magnitudes_with(name, special))
        without, own = (
            np.abs(ratio[:, None] - np.array(magnitudes_with(name, one)) / largest).min(1) ** 2
            for one in (None, special)
        )
        plain.append(without)
        saved.append(without - own)
    balance = 2 * (plain[0] - plain[1]) - saved[0] + saved[1]
    return Savings(*(tuple(np.rint(part * _SCORE_UNITS).astype(int).tolist()) for part in (*saved, balance)))


def quantize(
    x: ArrayLike, name: str, axis: str = "token", group: int | None = 32, search: str = "table"
) -> Quantized:
    """Quantise keys or values.

    Args:
        x: real [..., T, D], rounded to float16 first.
        name: one of ``TYPES``.
        axis, group: as for ``golden.kv.affine.quantize``.
        search: one of ``SEARCHES``.

    Returns:
        Codes and scales, and the selectors, uint8 0..3, in the place of zeros.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    if search not in SEARCHES:
        raise ValueError(f"search {search!r} must be one of {', '.join(SEARCHES)}")
    half, elements, reduced = magnitudes.grouped_half(x, axis, group)
    largest = np.abs(elements).max(reduced, keepdims=True)
    choose = _by_table if search == "table" else _by_error
    selector = choose(elements, largest, reduced, name)
    codes = np.zeros(elements.shape, np.uint8)
    scale = np.zeros(largest.shape)
    for number in range(len(datatypes.get(name).specials)):
        chosen = selector == number
        own, _, code = _encoded(elements, largest, name, number)
        codes, scale = np.where(chosen, code, codes), np.where(chosen, own, scale)
    scale, selector = (
        per_group(part.squeeze(reduced), half.shape, axis) for part in (scale.astype(np.float16), selector)
    )
    return Quantized(codes.reshape(half.shape), scale, selector)


def _encoded(elements: NDArray, largest: NDArray, name: str, number: int) -> tuple[NDArray, NDArray, NDArray]:
    """Scales, float64, nearest values in units of them, and codes, with a special value by its number."""
    dtype = datatypes.get(name)
    most = np.abs(dtype.values(number)).max()
    scale = (largest.astype(np.float64) / most).astype(np.float16).astype(np.float64)
    scale = np.where(largest > 0, np.maximum(scale, _UNIT), 0)
    quotient = (elements.astype(np.float64) / np.where(scale > 0, scale, 1)).astype(np.float32)
    nearest = Nearest(dtype)
    return scale, nearest.value(quotient, number, 0), nearest.code(quotient, number, 0)


def _by_error(elements: NDArray, largest: NDArray, reduced: int, name: str) -> NDArray[np.uint8]:
    """Selectors of the least squared error."""
    exact = elements.astype(np.float64)
    relevant = _RELEVANT * np.abs(exact) >= largest
    errors = []
    for number in range(len(datatypes.get(name).specials)):
        scale, value, _ = _encoded(elements, largest, name, number)
        difference = (exact - value * scale) * relevant
        errors.append(np.square(difference).sum(reduced, keepdims=True))  # exact, see above
    return np.argmin(errors, 0).astype(np.uint8)


def _by_table(elements: NDArray, largest: NDArray, reduced: int, name: str) -> NDArray[np.uint8]:
    """Selectors that the tables choose."""
    index = (magnitudes.integers(elements) << INDEX_BITS) // np.maximum(magnitudes.integers(largest), 1)
    tables = (np.array(part)[index] for part in savings(name))
    sign = np.where(elements < 0, -1, 1)
    inner, outer, balance = (
        (part * weight).sum(reduced, keepdims=True)
        for part, weight in zip(tables, (sign, sign, 1), strict=True)
    )
    is_outer = balance - np.abs(inner) + np.abs(outer) > 0
    return (2 * is_outer + (np.where(is_outer, outer, inner) < 0)).astype(np.uint8)


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
