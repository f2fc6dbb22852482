"""What engine and array have in common: activations of tf32, their alignment, and the array's products.

Activations are float64 arrays, one row for each of N queries: numbers of 11 significant bits (tf32), or exact
products of two of them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.activations.aligner import Aligned, align
from golden.attention.widths import MOST_CHANNELS
from golden.numbers import floats, scales
from golden.numbers.datatypes import DataType
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.pe.output_converter import convert
from golden.pe.rescale import contribution, output_exponent

__all__ = ["aligned", "dots", "rescaled"]

Real = NDArray[np.float64]


def aligned(activations: Real, group: int, numerics: Numerics) -> Aligned:
    """Round rows [..., C] to tf32 and align them in groups of so many elements.

    A product of two numbers of 11 bits is exact in float32, so that it is rounded once.
    """
    bits = floats.encode(activations.astype(np.float32), "tf32")
    return align(bits, "tf32", group, numerics.activation_bits)


def dots(vectors: Aligned, integers: NDArray[np.int16], group: int) -> NDArray[np.int64]:
    """Exact dot products of rows [N, C] with rows [K, C] by groups: [N, K, ceil(C / group)].

    Products of 16 and 9 bits, at most 256 of them, are exact in float64.
    """
    starts = range(0, integers.shape[1], group)
    parts = [
        vectors.integers[:, start : start + group].astype(np.float64)
        @ integers[:, start : start + group].T.astype(np.float64)
        for start in starts
    ]
    return np.stack(parts, -1).astype(np.int64)


def rescaled(
    vectors: Aligned,
    integers: NDArray[np.int16],
    group: int,
    dtype: DataType,
    numerics: Numerics,
    scale: tuple[NDArray[np.float16], NDArray[np.float16]] | None = None,
    top: ArrayLike = floats.HALF_UNIT,
) -> Real:
    """What the array makes of a vector and K rows of codes: accumulated in fixed point, then float32.

    A vector has at most 256 elements, so that the accumulator needs no room for more groups: six bits finer
    than for the longest vectors of weights, without which keys by token at 8 bits err by 5e-3 and values by
    channel by 1e-2 (relative RMS of the outputs).

    Roundings: every contribution of a group down to the accumulator's grid (``golden.pe.rescale``), and the
    sum to float32, to nearest even.

    Args:
        vectors: of N queries, [N, C], aligned in groups of ``group``.
        integers: [K, C], centred.
        group: elements that share an exponent and a step; at most ``numerics.group``.
        dtype: data type that bounds the integers, the zero point that it carries included.
        numerics: widths.
        scale: steps and offsets [K, groups]; None for steps of 1 and no offsets.
        top: exponent field that no step or offset exceeds, [N] or one for all.

    Returns:
        float64 [N, K] of float32 numbers.

    Raises:
        ValueError: the group is too long.
    """
    if group > numerics.group:
        raise ValueError(f"group {group} must be at most {numerics.group}")
    products = dots(vectors, integers, group)
    exponents = vectors.exponents.astype(np.int64)
    reference = exponents.max(-1, keepdims=True)
    distance = (reference - exponents)[:, None]
    form = scales.get("fp16" if scale else "e8m0")
    numerics = replace(numerics, maximum_inputs=MOST_CHANNELS)
    bound = reach(numerics.group, numerics.activation_bits, dtype, form, scale is not None)
    highest = np.broadcast_to(np.asarray(top, np.int64), len(products))[:, None]
    if scale is None:
        total = contribution(products, np.ones((), np.int64), distance, bound, numerics).sum(-1)
    else:
        zero_point = 1 << dtype.bits - 1 if dtype.asymmetric else 0
        sums = vectors.sums[:, None]
        total = np.zeros(products.shape[:2], np.int64)
        for part, operand in zip(scale, (products + zero_point * sums, sums), strict=True):
            mantissa, field = floats.half_parts(part)
            apart = distance + highest[..., None] - field
            total += contribution(operand, mantissa, apart, bound, numerics).sum(-1)
    bias = floats.EXPONENT_BIAS["tf32"]
    exponent = output_exponent(highest - floats.HALF_UNIT, reference, bias, bound, numerics)
    bits, _ = convert(total, exponent, np.zeros(total.shape, bool), "fp32")
    return floats.decode(bits, "fp32").astype(np.float64)
