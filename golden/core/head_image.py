"""What memory has of a KV head before its first token (``golden.core.state``)."""

import numpy as np

from golden.core import state
from golden.core.commands import LINE_BYTES, UNIT
from golden.core.geometry import Geometry
from golden.core.image import Builder, line_count
from golden.core.kv_shape import bits_of
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import Scheme
from golden.kv.window import copy_bytes

__all__ = ["add_head", "closing_turns"]


def add_head(
    builder: Builder, name: str, scheme: Scheme, geometry: Geometry, channels: int, limit: int
) -> int:
    """Put header, records, pages and window of a KV head into an image.

    Args:
        builder: of the image.
        name: of the head; its parts are ``name.window`` and ``name.pages``.
        scheme: of its cache.
        geometry: of the core.
        channels: elements of a head.
        limit: tokens that there is room for.

    Returns:
        The header's line.

    Raises:
        ValueError: the scheme has no window, or keeps no token in it.
    """
    tokens, residual = geometry.page_tokens, scheme.residual
    if not residual:
        raise ValueError("scheme of a core must keep a token in the window")
    layouts = [
        _layout(form, side, geometry, channels)
        for form, side in zip((scheme.key, scheme.value), ("key", "value"), strict=True)
    ]
    window = _layout(scheme.window_format, "key", geometry, channels)
    parts = [line_count(window.bytes)] * 2 + [line_count(copy_bytes(window))] * 2
    starts = [0, *map(int, np.cumsum(parts))]
    blocks = 1 - (-residual // tokens)  # that the window lies in at most, the present token included
    slots = 1 << (blocks - 1).bit_length()
    pages = max(0, limit - residual + closing_turns(scheme, geometry)) // tokens
    header = {
        "window": builder.reserve(f"{name}.window", starts[-1] * slots * LINE_BYTES),
        "pitch": starts[-1],
        "slots": slots,
        "channels": channels // UNIT,
        "residual": residual,
        "coded_values": starts[1],
        "key_copy": starts[2],
        "value_copy": starts[3],
        "pages": pages,
        "key_top": 1,
        "value_top": 1,
    }
    lengths = [line_count(each.bytes) for each in layouts]
    first = builder.reserve(f"{name}.pages", pages * sum(lengths) * LINE_BYTES)
    forms = [bits_of(each.format, channels, tokens) for each in layouts]
    records = [
        {
            "keys": first + page * sum(lengths),
            "values": first + page * sum(lengths) + lengths[0],
            "key_format": forms[0],
            "value_format": forms[1],
            "first": 0,
            "last": tokens - 1,
        }
        for page in range(pages)
    ]
    own = [state.encoded(header, state.HEAD, LINE_BYTES)]
    own += [state.encoded(record, state.RECORD, state.RECORD_BYTES) for record in records]
    return builder.add(name, b"".join(own))


def closing_turns(scheme: Scheme, geometry: Geometry) -> int:
    """Tokens at which a page can close: its own have all come, and attention reads it behind the last."""
    return min(geometry.page_tokens, scheme.residual)


def _layout(form: Format | None, side: str, geometry: Geometry, channels: int) -> PageLayout:
    if form is None:
        raise ValueError("scheme of a core must have a window format")
    return PageLayout(form, side, geometry.page_tokens, channels, geometry.rows, geometry.lanes)
