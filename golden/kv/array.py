"""What the array computes of cached keys and values: exact group dot products, accumulated in fixed point.

``golden.kv.attention`` says which products are folded into the activations; ``accumulate`` is one pass of
activations over the integers of a page or of a whole head.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.activations.aligner import align
from golden.kv.cache import PagedCache
from golden.numbers import datatypes, floats, scales
from golden.numbers.datatypes import DataType
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.pe.dot import group_dot
from golden.pe.output_converter import convert
from golden.pe.rescale import contribution, output_exponent

__all__ = ["HeadPages", "accumulate", "by_head", "outputs", "scores"]


class HeadPages(NamedTuple):
    """The B pages of one head and side.

    Attributes:
        axis: "token" or "channel".
        dtype: data type of the integers.
        integers: int16 [B, P, D].
        step, offset: float16 [B, ..], as ``Format.line`` has them.
        top: largest exponent field of any step and offset of the head, a running maximum as pages arrive.
    """

    axis: str
    dtype: DataType
    integers: NDArray[np.int16]
    step: NDArray[np.float16]
    offset: NDArray[np.float16]
    top: int


def by_head(
    cache: PagedCache,
    side: str,
    activations: NDArray[np.float32],
    numerics: Numerics,
    function: Callable[[HeadPages, NDArray[np.float32], Numerics], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Apply ``scores`` or ``outputs`` to every query [H, R, ..] and the pages of its head.

    Raises:
        ValueError: steps or offsets that are not float16 numbers, or groups longer than the array's.
    """
    form, pages = cache.layouts[side].format, cache.pages(side)
    if form.axis == ("token" if side == "key" else "channel"):
        length = cache.channels if side == "key" else cache.page_tokens
        if (form.group or length) > numerics.group:
            raise ValueError(f"group {form.group or length} of {side} must be at most {numerics.group}")
    exact = form.line(pages.scale, pages.zero)
    with np.errstate(over="ignore"):
        step, offset = (part.astype(np.float16) for part in exact)
    if not all(np.array_equal(part, rounded) for part, rounded in zip(exact, (step, offset), strict=True)):
        raise ValueError(f"{side} format {form.rule!r} has steps or offsets that are not float16 numbers")
    integers = form.integers(pages.codes)
    results = []
    for head, queries in enumerate(activations):
        fields = [floats.half_parts(part[head])[1].max(initial=1) for part in (step, offset)]
        own = HeadPages(form.axis, form.dtype, integers[head], step[head], offset[head], int(max(fields)))
        results.append([function(own, query, numerics) for query in queries])
    return np.array(results, np.float32).reshape(*activations.shape[:2], -1)


def scores(pages: HeadPages, q: NDArray[np.float32], numerics: Numerics) -> NDArray[np.float32]:
    """Scores [B * P] of one query [D] of float16 values."""
    if pages.axis == "token":
        size = len(q) // pages.step.shape[2]
        parts = [
            accumulate(block, q, size, pages.dtype, numerics, step, offset, pages.top)
            for block, step, offset in zip(pages.integers, pages.step, pages.offset, strict=True)
        ]
        return np.concatenate([*parts, np.zeros(0, np.float32)])
    result = []
    for block, step, offset in zip(pages.integers, pages.step, pages.offset, strict=True):
        for own, folded, shift in zip(np.split(block, len(step)), step, offset, strict=True):
            main = accumulate(own, q * folded, numerics.group, pages.dtype, numerics)
            result.append(main + _sum(q * shift, numerics.group, numerics))
    return np.concatenate([*result, np.zeros(0, np.float32)])


def outputs(pages: HeadPages, w: NDArray[np.float32], numerics: Numerics) -> NDArray[np.float32]:
    """Weighted sums [D] with weights [B * P], which are rounded to float16 first.

    Every page is a product of its own; they are added in float32, in order.
    """
    blocks, tokens, channels = pages.integers.shape
    weights = w.astype(np.float16).astype(np.float32).reshape(blocks, tokens)
    total = np.zeros(channels, np.float32)
    for integers, step, offset, own in zip(pages.integers, pages.step, pages.offset, weights, strict=True):
        if pages.axis == "channel":
            size = tokens // len(step)
            total += accumulate(integers.T, own, size, pages.dtype, numerics, step.T, offset.T, pages.top)
            continue
        result = []
        for rows, folded, shift in zip(np.split(integers.T, step.shape[1]), step.T, offset.T, strict=True):
            main = accumulate(rows, own * folded, numerics.group, pages.dtype, numerics)
            result.append(main + _sum(own * shift, numerics.group, numerics))
        total += np.concatenate(result)
    return total


def accumulate(
    integers: NDArray,
    activations: NDArray[np.float32],
    group: int,
    dtype: DataType,
    numerics: Numerics,
    step: NDArray[np.float16] | None = None,
    offset: NDArray[np.float16] | None = None,
    top: int = floats.HALF_UNIT,
) -> NDArray[np.float32]:
    """Dot products of K rows with one vector, by groups, in the array's fixed point.

    Args:
        integers: [K, C].
        activations: [C], rounded to float16.
        group: elements that are aligned together, and that share a step; at most ``numerics.group``.
        dtype: data type whose values, with its zero point, bound the integers.
        numerics: widths.
        step, offset: float16 [K, groups], or None for steps of 1 and no offsets.
        top: exponent field that no step or offset exceeds.

    Returns:
        float32 [K], rounded once from the accumulator.
    """
    aligned = align(floats.encode(activations, "fp16"), "fp16", group, numerics.activation_bits)
    reference = int(aligned.exponents.max())
    distance = reference - aligned.exponents.astype(np.int64)
    dots = group_dot(aligned.integers, integers, group)
    scale = scales.get("fp16" if step is not None else "e8m0")
    bound = reach(numerics.group, numerics.activation_bits, dtype, scale, offset is not None)
    if step is None:
        total = contribution(dots, np.ones((), np.int64), distance, bound, numerics).sum(1)
    else:
        mantissa, field = floats.half_parts(step)
        total = contribution(dots, mantissa, distance + top - field, bound, numerics).sum(1)
    if offset is not None:
        mantissa, field = floats.half_parts(offset)
        total += contribution(aligned.sums, mantissa, distance + top - field, bound, numerics).sum(1)
    lowest = np.full(len(total), top - floats.HALF_UNIT)
    exponent = output_exponent(lowest, reference, floats.EXPONENT_BIAS["fp16"], bound, numerics)
    bits, _ = convert(total, exponent, np.broadcast_to(aligned.special, total.shape), "fp32")
    return floats.decode(bits, "fp32")


def _sum(activations: NDArray[np.float32], group: int, numerics: Numerics) -> np.float32:
    """Sum of a vector, as the array computes it with a row of ones."""
    ones = np.ones((1, len(activations)), np.int16)
    return accumulate(ones, activations, group, datatypes.get("binary01"), numerics)[0]
