"""Quantised pages as a page reader gives them and as float16, for the bench of the dequantiser."""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.kv.affine import Quantized
from golden.kv.pages import PageLayout
from sim.benches.kv.pages import form_fields, parts_of

__all__ = ["random_numbers", "streams_of", "values_of"]


def random_numbers(layout: PageLayout) -> Quantized:
    """Any codes with any finite scales and minima, some of whose exponents are close together."""
    form = layout.format
    generator = np.random.default_rng(random.getrandbits(32))
    largest = 2 if form.kind == "ternary" else (1 << form.bits) - 1
    codes = generator.integers(0, largest, (layout.tokens, layout.channels), np.uint8, endpoint=True)
    shape = form.groups(layout.tokens, layout.channels)
    scale = generator.integers(0, 0x7C00, shape)
    near = scale + generator.integers(-0x1000, 0x4000, shape)
    zero = np.where(generator.random(shape) < 0.5, near.clip(0, 0x7BFF), generator.integers(0, 0x7C00, shape))
    scale, zero = (np.where(generator.random(shape) < 0.05, 0, field) for field in (scale, zero))
    zero |= generator.integers(0, 2, shape) << 15
    scale, zero = (field.astype(np.uint16).view(np.float16) for field in (scale, zero))
    return Quantized(codes, scale, zero if form.kind == "affine" else np.zeros_like(scale))


def streams_of(
    layout: PageLayout, page: NDArray[np.uint8], width: int, error: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Payloads ``word`` of the metadata in a page's bytes and ``page_beat`` of its codes.

    ``error`` says that it is damaged.
    """
    words, codes = parts_of(layout, page, width)
    coding = form_fields(layout)["coding"]
    numbers = [{"data": data, "last": number == len(words) - 1} for number, data in enumerate(words)]
    beats = [
        {"beat": {"codes": row, "coding": coding, "last": last}, "error": error and last}
        for row, last in zip(codes, [False] * (len(codes) - 1) + [True], strict=True)
    ]
    return numbers, beats


def values_of(layout: PageLayout, quantized: Quantized, lanes: int, error: bool) -> list[dict[str, Any]]:
    """Payloads ``value_beat`` of a page."""
    patterns = layout.format.decode_half(quantized).view(np.uint16)
    order = layout.order.reshape(-1, lanes)
    tokens, channels = np.divmod(order[:, 0], layout.channels)
    rows = zip(patterns.ravel()[order].tolist(), tokens.tolist(), (channels // lanes).tolist(), strict=True)
    last = len(order) - 1
    return [
        {
            "elements": row,
            "token": token,
            "beat": beat,
            "error": error and number == last,
            "last": number == last,
        }
        for number, (row, token, beat) in enumerate(rows)
    ]
