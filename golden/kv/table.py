"""Tables of 16 values on the cache: codes of 4 bits that stand for any integers, as NF4's or KVQuant's do.

A format names its table, 16 integers within -127..127; code n stands for entry n. A cache has one for its
keys and one for its values, and so has a layer in KVQuant (NeurIPS 2024, arXiv 2401.18079), whose codes are
fitted to each layer's keys and values by k-means. Here a group has a scale and nothing else:

    scale = largest magnitude of the group / largest magnitude of the table, rounded to float16; at least
            2^-24; negative where the first element of that magnitude has the sign that the table's largest
            magnitude does not have
    code  = that of the entry nearest to x / scale, of equally near ones the smaller code

So the largest element meets an entry, whichever side of the table reaches further; GGUF scales the blocks of
IQ4_NL with a sign, too. A group of zeros has the scale 0 and the code 0; so has every group if all entries
are 0.

The nearest one is exact: elements and entries times a scale are multiples of 2^-24 below 2^23, so that their
differences are exact in float64.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.affine import Quantized, is_integer, per_group
from golden.numbers import datatypes
from golden.numbers.datatypes import TABLE_LARGEST, TABLE_ROWS

__all__ = ["BITS", "IQ4_NL", "NF4", "TABLES", "checked", "quantize", "rounded"]

BITS = 4
"""Of a code."""

_UNIT = 2.0**-24
_BLOCK = 1 << 16
"""Elements that are compared with all entries at a time."""


def checked(values: object) -> tuple[int, ...]:
    """A table as a tuple of its entries.

    Raises:
        ValueError: not 16 integers within -127..127.
    """
    entries = tuple(values) if isinstance(values, Sequence | np.ndarray) else ()
    fits = len(entries) == TABLE_ROWS and all(map(is_integer, entries))
    if not fits or max(map(abs, entries)) > TABLE_LARGEST:
        raise ValueError(f"table {values!r} must be {TABLE_ROWS} integers within +-{TABLE_LARGEST}")
    return tuple(map(int, entries))


def rounded(centres: ArrayLike) -> tuple[int, ...]:
    """A table of 16 real values of any scale, such as the centres that k-means finds, ascending.

    The largest magnitude becomes 127 and each value the nearest integer, ties to even.

    Raises:
        ValueError: not 16 finite values, or all of them 0.
    """
    real = np.sort(np.asarray(centres, np.float64).ravel())
    if len(real) != TABLE_ROWS or not np.isfinite(real).all() or not real.any():
        raise ValueError(f"centres {real.tolist()} must be {TABLE_ROWS} finite values, not all 0")
    return tuple(np.rint(real * (TABLE_LARGEST / np.abs(real).max())).astype(int).tolist())


NF4 = rounded(
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    )
)
"""NormalFloat of 4 bits (QLoRA, NeurIPS 2023, arXiv 2305.14314, appendix E), in 127ths."""

IQ4_NL = datatypes.IQ4_NL
"""GGUF's."""

TABLES = {"nf4": NF4, "iq4_nl": IQ4_NL}
"""Those that are there by name."""


def quantize(x: ArrayLike, values: Sequence[int], axis: str = "token", group: int | None = 32) -> Quantized:
    """Quantise keys or values.

    Args:
        x: real [..., T, D], rounded to float16 first.
        values: the table.
        axis, group: as for ``golden.kv.affine.quantize``.

    Returns:
        Codes and scales; zeros are all zeros.

    Raises:
        ValueError: an argument out of range, or an element that is not finite in float16.
    """
    table = np.array(checked(values), np.float64)
    half, elements, reduced = magnitudes.grouped_half(x, axis, group)
    scale = _scales(elements.astype(np.float64), reduced, table)
    codes = np.empty(elements.shape, np.uint8)
    for rows in _rows(elements):
        apart = np.abs(elements[rows][..., None].astype(np.float64) - table * scale[rows][..., None])
        codes[rows] = apart.argmin(-1)
    kept = per_group(scale.squeeze(reduced).astype(np.float16), half.shape, axis)
    return Quantized(codes.reshape(half.shape), kept, np.zeros_like(kept))


def _scales(elements: NDArray[np.float64], reduced: int, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales of groups, with an axis of length 1 in the place of their elements."""
    most = np.abs(table).max()
    place = np.abs(elements).argmax(reduced, keepdims=True)
    extreme = np.take_along_axis(elements, place, reduced)
    if not most:
        return np.zeros_like(extreme)
    size = np.maximum((np.abs(extreme) / most).astype(np.float16).astype(np.float64), _UNIT)
    turned = ~np.isin(np.sign(extreme) * most, table)
    return np.where(extreme == 0, 0, np.where(turned, -size, size))


def _rows(elements: NDArray) -> Iterator[slice]:
    """Blocks whose comparisons stay in a cache."""
    step = max(_BLOCK // (elements.shape[1] * elements.shape[2]), 1)
    for first in range(0, len(elements), step):
        yield slice(first, first + step)
