"""The window in memory: tokens that are in no page yet, those of one head and side in two pages of P places.

A token is complete by itself, so that it can be appended without reading anything, and read at once:

* the window page is a page (``golden.kv.pages``) of an 8-bit format by token, which attention reads. A token
  owns its groups' scales and minima and, of the codes, a piece of ``lanes`` bytes (keys) or ``rows`` bytes
  (values) in every chunk that it has a part in;
* the copy has the same tokens as they are: D float16 numbers, little endian, token after token. It is read
  once, when its P tokens become a page.

Bytes of places that no token has taken yet are whatever they were.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv import magnitudes
from golden.kv.pages import PageLayout

__all__ = ["append", "close", "copy_bytes"]


def copy_bytes(layout: PageLayout) -> int:
    """Length of the copy."""
    return layout.elements * np.dtype("<f2").itemsize


def append(
    page: NDArray[np.uint8],
    copy: NDArray[np.uint8],
    layout: PageLayout,
    place: int,
    token: ArrayLike,
    top: int = 1,
) -> int:
    """Write a token of one head and side.

    Args:
        page, copy: uint8 [layout.bytes] and [copy_bytes(layout)], views of the memory; only the token's own
            bytes change.
        layout: of the window page, 8 bits by token.
        place: of the token, 0..P - 1.
        token: real [D], rounded to float16.
        top: largest exponent field of any step and offset before, 1..31.

    Returns:
        ``top``, raised to those of the token's own steps and offsets.

    Raises:
        ValueError: a format or a shape that does not fit, or an element that is not finite in float16;
            nothing is written then.
    """
    form, channels = layout.format, layout.channels
    if form.axis != "token" or form.bits != 8:
        raise ValueError(f"format {form} of a window must have 8 bits and axis 'token'")
    if not 0 <= place < layout.tokens:
        raise ValueError(f"place {place} must be 0..{layout.tokens - 1}")
    half = magnitudes.finite_half(token)
    if half.shape != (channels,):
        raise ValueError(f"token of shape {half.shape} must be [{channels}]")
    quantized = form.quantize(half[None])
    first = 0
    for name, kind in form.fields:
        own = np.ascontiguousarray(getattr(quantized, name)[0], kind).view(np.uint8)
        page[first + place * own.size :][: own.size] = own
        first += layout.groups * kind.itemsize
    mine = layout.order // channels == place  # in the order of channels, whatever the side
    page[first:][mine] = form.stored[quantized.codes[0]]
    written = half.astype("<f2").view(np.uint8)
    copy[place * written.size :][: written.size] = written
    return max(top, int(form.largest_field(quantized.scale, quantized.zero)))


def close(copy: NDArray[np.uint8], layout: PageLayout, top: int = 1) -> tuple[NDArray[np.uint8], int]:
    """The page that a full copy becomes.

    Args:
        copy: uint8 [copy_bytes(layout)].
        layout: of the page, any format.
        top: largest exponent field of any step and offset before, 1..31.

    Returns:
        uint8 [layout.bytes], and ``top``, raised to those of the page's own steps and offsets.

    Raises:
        ValueError: another length, or an element that is not finite.
    """
    if copy.shape != (copy_bytes(layout),):
        raise ValueError(f"copy of shape {copy.shape} must be [{copy_bytes(layout)}]")
    quantized = layout.format.quantize(copy.view("<f2").reshape(layout.tokens, layout.channels))
    own = int(layout.format.largest_field(quantized.scale, quantized.zero))
    return layout.pack(quantized), max(top, own)
