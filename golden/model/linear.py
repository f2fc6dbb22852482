"""Linear layers of a model: what stands for the product with a matrix of weights.

``dense`` and ``rounded`` multiply in float32; ``exact`` gives the bits of ``golden.matvec``. There a group's
activations and codes are integers whose dot product stays below 2^24, so that a float32 matrix product is
exact whatever its order (float64 where it does not stay below). What follows, one multiplication and one
rounding down a group, is exact in float64: a product has at most 24 + 11 bits, a sum fewer than the
accumulator's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.numbers import floats
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.weights.quantized import QuantizedWeights

__all__ = ["Aligned", "Factory", "Linear", "align", "biased", "dense", "exact", "rounded"]

Array = NDArray[np.float32]
Linear = Callable[[Array], Array]
"""Inputs [n, C] to outputs [n, K], both float32."""

Factory = Callable[[str, Array], Linear]
"""Makes the layer of a tensor's name and its weights, float32 [K, C]."""

_BLOCK = 256
_FARTHEST = 63
_OUTPUTS = {"fp16": np.float16, "fp32": np.float32}
_SMALLEST = np.float32(2.0 ** (1 - floats.EXPONENT_BIAS["fp16"]))  # of FP16's normal numbers


def dense(name: str, weights: Array) -> Linear:
    """The product in float32."""
    return lambda x: x @ weights.T


def biased(product: Linear, bias: Array) -> Linear:
    """A layer whose outputs are those of another plus a bias [K], added in float32."""
    return lambda x: product(x) + bias


def rounded(weights: Array, group: int = 128, activation_bits: int | None = None) -> Linear:
    """The product in float32 with activations that are rounded to FP16 and, with a width, aligned."""

    def product(x: Array) -> Array:
        if activation_bits is None:
            return x.astype(np.float16).astype(np.float32) @ weights.T
        aligned = align(x, group, activation_bits)
        unit = np.ldexp(np.float32(1), aligned.exponents - (activation_bits - 2))
        return aligned.integers * np.repeat(unit, group, 1)[:, : x.shape[1]] @ weights.T

    return product


class Aligned(NamedTuple):
    """Activations as ``golden.activations.aligner`` aligns them, in floating point.

    Attributes:
        integers: float32 [n, C], whole numbers.
        exponents: int32 [n, D], exponent of each group, without bias.
        special: bool [n], the vector holds a NaN or an infinity.
    """

    integers: Array
    exponents: NDArray[np.int32]
    special: NDArray[np.bool_]


def align(x: Array, group: int, activation_bits: int) -> Aligned:
    """Round activations [n, C] to FP16 and align them in groups along C."""
    with np.errstate(over="ignore"):
        half = x.astype(np.float16).astype(np.float32)
    finite = np.isfinite(half)
    special = ~finite.all(1)
    if special.any():
        half[~finite] = 0
    starts = np.arange(0, x.shape[1], group)
    largest = np.maximum(np.maximum.reduceat(np.abs(half), starts, axis=1), _SMALLEST)
    exponents = np.frexp(largest)[1] - 1
    factor = np.ldexp(np.float32(1), activation_bits - 2 - exponents)
    half *= np.repeat(factor, group, 1)[:, : x.shape[1]]
    top = (1 << activation_bits - 1) - 1
    return Aligned(np.clip(np.rint(half, out=half), -top, top, out=half), exponents, np.asarray(special))


def exact(q: QuantizedWeights, numerics: Numerics, output: str = "fp32") -> Linear:
    """The product with the accelerator's numerics: the same bits as ``golden.matvec.matvec``.

    Args:
        q: weights.
        numerics: widths; the group is the weights' own.
        output: "fp16" or "fp32".

    Raises:
        ValueError: groups are not the configuration's, or more inputs than it allows.
    """
    if q.groups > 1 and q.group != numerics.group:
        raise ValueError(f"group {q.group} must be {numerics.group}, the one the activations are aligned in")
    if q.shape[1] > numerics.maximum_inputs:
        raise ValueError(f"inputs {q.shape[1]} must be at most {numerics.maximum_inputs}")
    product = _Exact(q, numerics, _OUTPUTS[output])

    def blocks(x: Array) -> Array:
        return np.concatenate([product(x[first : first + _BLOCK]) for first in range(0, len(x), _BLOCK)])

    return blocks


class _Exact:
    """The product of one block of activations."""

    def __init__(self, q: QuantizedWeights, numerics: Numerics, output: type[np.floating]) -> None:
        has_offset = q.offset_mantissa is not None
        self.group, self.numerics, self.output = q.group, numerics, output
        bound = reach(numerics.group, numerics.activation_bits, q.dtype, q.scale_format, has_offset)
        self.shift = bound - numerics.alignment
        values = q.integers().astype(np.int32) + q.per_input(q.zero_point)
        largest = numerics.group * int(np.abs(values).max()) << numerics.activation_bits - 1
        works = np.float32 if largest < 1 << 24 else np.float64
        self.values = np.ascontiguousarray(values.T.astype(works))
        self.scale = self._aligned(q.scale)
        self.offset = None if q.offset is None else self._aligned(q.offset)
        self.channel = q.channel_exponent.astype(np.int32)

    def _aligned(self, real: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scales or offsets [K, D] in units of the accumulator's lowest bit, [D, K]."""
        return np.ascontiguousarray(np.ldexp(real, -self.shift).T)

    def __call__(self, x: Array) -> Array:
        bits = self.numerics.activation_bits
        aligned = align(x, self.group, bits)
        reference = aligned.exponents.max(1)
        near = np.minimum(reference[:, None] - aligned.exponents, _FARTHEST)
        factor = np.ldexp(np.float32(1), -near)
        total = np.zeros((len(x), len(self.channel)))
        part = np.empty_like(total)
        for number, first in enumerate(range(0, x.shape[1], self.group)):
            own = aligned.integers[:, first : first + self.group] * factor[:, number, None]
            codes = self.values[first : first + self.group]
            np.multiply(own.astype(codes.dtype, copy=False) @ codes, self.scale[number], out=part)
            total += np.floor(part, out=part)
            if self.offset is not None:
                sums = own.sum(1, dtype=np.float64)
                total += np.floor(np.multiply(sums[:, None], self.offset[number], out=part), out=part)
        exponent = self.channel + (reference - (bits - 2) + self.shift)[:, None]
        with np.errstate(over="ignore"):
            result = np.ldexp(total, exponent).astype(self.output).astype(np.float32)
        result[aligned.special] = np.nan
        return result
