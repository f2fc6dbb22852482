"""Scores of a page's keys, in the base-2 domain: softmax over scores s is 2^s over its sum.

    score[t] = log2(e) / sqrt(D) * sum over c of q[c] * key[t,c]

Steps by channel are folded into the query; steps by token go through the array's rescaler. Roundings, in
order, to nearest even unless stated:

1. log2(e) / sqrt(D) to 16 significant bits; q' = q * that to tf32;
2. keys by channel: each product q' * offset and q' * step * centre of a group of tokens to units of 2^-18,
   ties up, saturating below 2^24; their exact sum is the offset term;
3. q' * step to tf32 and to aligned integers of ``numerics.activation_bits``, in runs of ``numerics.group``
   channels; for keys by token q' itself, in the format's groups;
4. the array's result to float32 (``golden.attention.product.rescaled``), for keys by token with steps and
   offsets; to units of 2^-18, ties up, saturating below 2^33;
5. with the offset term to units of 2^-12, ties up; then plus the score of the pages before, if there are
   any, exactly; saturating at 2^19 - 1 in magnitude.

Keys of the same tokens may come in several pages, each of the channels that follow those of the page before
(VidKV's keys: some channels, and columns of the transform of the others). Each page meets its own part of the
query, which has the factor of all channels, and gives a score by roundings 1 to 5. The last score counts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.attention import widths
from golden.attention.page import Page
from golden.attention.product import Real, aligned, rescaled
from golden.attention.rounding import nearest, shifted
from golden.numbers import floats
from golden.numbers.numerics import Numerics

__all__ = ["Query", "fold", "query_factor", "saturated_terms", "score", "scores"]

_SIGNIFICAND = 16
_MOST_SCORE = -widths.LOWEST - 1 << widths.SCORE_FRACTION
_MOST_TERM = (1 << widths.TERM_INTEGER + widths.TERM_FRACTION) - 1
_MOST_PRODUCT = (1 << 33 + widths.TERM_FRACTION) - 1


class Query(NamedTuple):
    """N queries of one KV head.

    Attributes:
        values: q', float64 [N, D] of tf32 numbers; +0 in place of NaN and infinity.
        special: bool [N], the query had one of these.
    """

    values: Real
    special: NDArray[np.bool_]


def query_factor(channels: int) -> tuple[int, int]:
    """log2(e) / sqrt(channels): an integer of 16 bits, the topmost one set, and its exponent."""
    factor = math.log2(math.e) / math.sqrt(channels)
    exponent = math.frexp(factor)[1] - _SIGNIFICAND
    return round(math.ldexp(factor, -exponent)), exponent


def fold(q: ArrayLike) -> Query:
    """Bring queries [N, D] to the base-2 domain; they are rounded to float16 first."""
    with np.errstate(over="ignore"):
        half = np.asarray(q).astype(np.float16).astype(np.float64)
    finite = np.isfinite(half)
    values = floats.round_tf32(np.where(finite, half, 0) * math.ldexp(*query_factor(half.shape[1])))
    return Query(values, np.any(~finite, axis=1))


def scores(
    query: Query, keys: Page | Sequence[Page], top: ArrayLike, numerics: Numerics
) -> NDArray[np.int64]:
    """Scores in units of 2^-12.

    Args:
        query: N queries.
        keys: P keys, in one page or in several pages of successive channels.
        top: exponent field that no step or offset of the head's keys exceeds, [N] or one for all.
        numerics: widths.

    Returns:
        int64 [N, P].

    Raises:
        ValueError: groups of channels longer than ``numerics.group``, or pages that have other channels than
            the queries.
    """
    pages = [keys] if isinstance(keys, Page) else keys
    channels = [page.integers.shape[1] for page in pages]
    if sum(channels) != query.values.shape[1]:
        raise ValueError(f"pages of {channels} channels must have {query.values.shape[1]} together")
    found, start = np.zeros((len(query.values), len(pages[0].integers)), np.int64), 0
    for page, count in zip(pages, channels, strict=True):
        found = _added(found, query.values[:, start : start + count], page, top, numerics)
        start += count
    return found


def _added(
    earlier: NDArray[np.int64], q: Real, page: Page, top: ArrayLike, numerics: Numerics
) -> NDArray[np.int64]:
    """Scores [N, P] of a page and of those before it."""
    if page.axis == "token":
        group = page.integers.shape[1] // page.step.shape[1]
        vectors = aligned(q, group, numerics)
        scale = (page.step, page.offset)
        exact = rescaled(vectors, page.integers, group, page.dtype, numerics, scale, top)
        return score(exact, np.zeros((), np.int64), earlier)
    tokens = len(page.integers) // len(page.step)
    parts = []
    for number, (step, offset) in enumerate(zip(page.step, page.offset, strict=True)):
        own = slice(number * tokens, (number + 1) * tokens)
        exact = q * step.astype(np.float64)
        term = saturated_terms(q * offset.astype(np.float64)).sum(-1)
        if page.centre:
            term += saturated_terms(exact * page.centre).sum(-1)
        vectors = aligned(exact, numerics.group, numerics)
        main = rescaled(vectors, page.integers[own], numerics.group, page.centred, numerics)
        parts.append(score(main, term[:, None], earlier[:, own]))
    return np.concatenate(parts, -1)


def saturated_terms(products: Real) -> NDArray[np.int64]:
    """Products to units of 2^-18."""
    return np.clip(nearest(products, -widths.TERM_FRACTION), -_MOST_TERM, _MOST_TERM)


def score(product: Real, term: NDArray[np.int64], earlier: ArrayLike = 0) -> NDArray[np.int64]:
    """Scores of the array's results, which may be infinite, offset terms and scores of the pages before.

    They have shapes that broadcast.
    """
    limit = 2.0**34  # float32 may be far beyond; rounding needs less than 2^52 units
    main = nearest(np.clip(product, -limit, limit), -widths.TERM_FRACTION)
    total = np.clip(main, -_MOST_PRODUCT, _MOST_PRODUCT) + term
    found = shifted(total, widths.TERM_FRACTION - widths.SCORE_FRACTION) + np.asarray(earlier, np.int64)
    return np.clip(found, -_MOST_SCORE, _MOST_SCORE)
