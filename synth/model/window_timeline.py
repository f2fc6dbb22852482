"""Cycles that the cache's own work takes of every token: appending it, and closing pages that are full.

A token is appended to all KV heads, keys and values (``hw.kv.token_writer``), then pages are closed one by
one (``hw.kv.page_closer``). Every layer and head closes its pages at a phase of its own, so that no token
pays for all: head n of all of them keeps ``n mod phases`` tokens of its window longer than it must.
"""

import numpy as np
from numpy.typing import NDArray

from golden.kv.pages import PageLayout
from golden.kv.schemes import Scheme
from hw.config import Config
from hw.kv.quantiser import page_cycles
from hw.kv.token_writer import token_cycles
from synth.model.networks import Network

__all__ = ["closings", "window_cycles"]


def closings(heads: int, page_tokens: int, phases: int, tokens: int) -> NDArray[np.int64]:
    """How many heads close a page after each token.

    Args:
        heads: of all layers.
        page_tokens: P.
        phases: 1, all at the same time, to P.
        tokens: since the sequence began.

    Returns:
        int64 [tokens].
    """
    at_phase = np.bincount(np.arange(heads) % phases, minlength=page_tokens)
    times = np.arange(1, tokens + 1)
    full = times[:, None] - np.arange(page_tokens)  # tokens that a phase counts
    closes = (full >= page_tokens) & (full % page_tokens == 0)
    return closes @ at_phase


def window_cycles(
    config: Config, network: Network, scheme: Scheme, tokens: int, phases: int | None = None
) -> NDArray[np.int64]:
    """Cycles of each token of a sequence, without stalls; nothing overlaps but a page with the next one.

    Args:
        config: of the circuits.
        network: its layers, KV heads and elements of a head.
        scheme: formats of keys and values.
        tokens: since the sequence began.
        phases: different ones; by default as many as a page has tokens.

    Returns:
        int64 [tokens].
    """
    heads, page_tokens = network.layers * network.kv_heads, config.kv.page_tokens
    layouts = [
        PageLayout(form, side, page_tokens, network.head, config.rows, config.lanes)
        for form, side in ((scheme.key, "key"), (scheme.value, "value"))
    ]
    pages = sum(page_cycles(config, each.format, each.groups, each.elements) for each in layouts)
    closed = closings(heads, page_tokens, phases or page_tokens, tokens)
    arrives = np.where(closed > 0, layouts[0].elements // config.kv.lanes, 0)
    return 2 * heads * token_cycles(config, network.head) + arrives + closed * pages
