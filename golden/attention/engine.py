"""The attention engine: one decode step of a KV head, page after page.

    state = start(count, channels, top)
    for keys, values in pages:
        state, scores = step(state, query, keys, values, ...)
    outputs, empty = finish(state, query)

Each of the N rows of a state is a query by itself; rows share a page but may see other tokens of it. The
order of the pages is part of the result: a maximum that moves rounds the sums before. Several engines may
take their shares of the pages and ``merge``.

Roundings are those of ``golden.attention.scores``, ``softmax``, ``sums`` and ``division``, and here:

* a page's maximum is that of its valid scores, rounded up, and moves before its weights are computed;
* both sums are then shifted by the move, to nearest, ties up, and the page's share is added exactly;
* each weight is added to the sum of weights in units of 2^-32, to nearest, ties up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.attention import widths
from golden.attention.division import divided
from golden.attention.page import Page
from golden.attention.rounding import nearest, shifted
from golden.attention.scores import Query, scores
from golden.attention.softmax import raised, weights
from golden.attention.sums import sums
from golden.numbers.numerics import Numerics

__all__ = ["Outputs", "State", "finish", "merge", "start", "step"]


class State(NamedTuple):
    """What N queries have found so far (``golden.attention.widths``).

    Attributes:
        maximum: int64 [N], -2^19 before the first token.
        total: int64 [N], sum of weights in units of 2^-32.
        sums: int64 [N, D], value sums in units of 2^(top - 38).
        top: int64 [N], exponent field that no step or offset of the head's values exceeds.
    """

    maximum: NDArray[np.int64]
    total: NDArray[np.int64]
    sums: NDArray[np.int64]
    top: NDArray[np.int64]


class Outputs(NamedTuple):
    """What an engine gives.

    Attributes:
        values: float16 [N, D]; finite, but NaN for a query with NaN or infinity.
        empty: bool [N], the query saw no valid token; its values are +0.
    """

    values: NDArray[np.float16]
    empty: NDArray[np.bool_]


def start(count: int, channels: int, top: ArrayLike) -> State:
    """The state of ``count`` queries before any page; ``top`` of the values, for each or one for all."""
    tops = np.array(np.broadcast_to(np.asarray(top, np.int64), count))
    zeros = np.zeros((count, channels), np.int64)
    return State(np.full(count, widths.LOWEST, np.int64), zeros[:, 0].copy(), zeros, tops)


def step(
    state: State,
    query: Query,
    keys: Page | Sequence[Page],
    values: Page,
    numerics: Numerics,
    key_top: ArrayLike,
    first: ArrayLike = 0,
    last: ArrayLike | None = None,
) -> tuple[State, NDArray[np.int64]]:
    """Read a page; returns also its scores [N, P] in units of 2^-12, those of invalid tokens too.

    Args:
        state: of N queries.
        query: N queries.
        keys, values: of the same P tokens; keys in one page or in several of successive channels.
        numerics: widths.
        key_top: exponent field that no step or offset of the head's keys exceeds, [N] or one for all.
        first, last: the page's valid tokens, [N] or one for all; default: up to its end.
    """
    tokens = np.arange(len(values.integers))
    end = len(tokens) - 1 if last is None else last
    valid = (np.asarray(first)[..., None] <= tokens) & (tokens <= np.asarray(end)[..., None])
    found = scores(query, keys, key_top, numerics)
    maximum = raised(state.maximum, found, valid)
    own = weights(found, maximum, valid)
    moved = maximum - state.maximum
    total = shifted(state.total, moved) + nearest(own, -widths.TOTAL_FRACTION).sum(-1)
    added = shifted(state.sums, moved[:, None]) + sums(own, values, state.top, numerics)
    return State(maximum, total, added, state.top), found


def merge(states: Sequence[State]) -> State:
    """Join what engines have found in their shares of the pages, engine 0 first.

    Every sum is shifted by the distance of its maximum below the largest, to nearest, ties up. An engine
    without tokens adds nothing.

    Raises:
        ValueError: engines with different tops.
    """
    if any(not np.array_equal(state.top, states[0].top) for state in states):
        raise ValueError("engines must have the same top")
    maximum = np.max([state.maximum for state in states], 0)
    total, added = np.zeros_like(states[0].total), np.zeros_like(states[0].sums)
    for state in states:
        behind = maximum - state.maximum
        total += shifted(state.total, behind)
        added += shifted(state.sums, behind[:, None])
    return State(maximum, total, added, states[0].top)


def finish(state: State, query: Query) -> Outputs:
    """Divide."""
    values = divided(state.sums, widths.sum_exponent(state.top), state.total)
    empty = state.total == 0
    values = np.where(query.special[:, None], np.float16(np.nan), values)
    return Outputs(values, empty)
