"""Matrix-vector products with the accelerator's exact numerics.

    y[o] = channel[o] * sum over g of ( scale[o,g] * P[o,g] + offset[o,g] * S[g] ) * 2^E[g]

Roundings, in order: activations to aligned integers (``golden.activations.aligner``: to nearest even,
saturated), each group's contribution to the accumulator's grid (``golden.pe.rescale``: down), the sum to the
output format (``golden.pe.output_converter``: to nearest even). Everything between is exact integer
arithmetic.
"""

from typing import Protocol

import numpy as np

from golden.activations.aligner import align
from golden.numbers import floats
from golden.numbers.numerics import Numerics
from golden.numbers.reach import reach
from golden.pe.dot import group_dot
from golden.pe.output_converter import convert
from golden.pe.rescale import contribution, output_exponent
from golden.weights.quantized import QuantizedWeights

__all__ = ["Configuration", "matvec", "matvec_bits"]


class Configuration(Protocol):
    """Anything that knows its numeric parameters, such as ``hw.config.Config``."""

    @property
    def numerics(self) -> Numerics: ...


def matvec(
    q: QuantizedWeights,
    x: np.ndarray,
    config: Configuration,
    activations: str = "fp16",
    output: str = "fp16",
) -> np.ndarray:
    """Multiply quantised weights by activations, bit-exact to the hardware.

    Args:
        q: weights, [K, C].
        x: float, [C] or [N, C]; rounded to the activation format to nearest even first.
        config: numeric parameters.
        activations: "fp16" or "bf16".
        output: "fp16", "bf16" or "fp32".

    Returns:
        float32, [K] or [N, K]: the results' exact values.
    """
    bits = floats.encode(np.asarray(x, np.float32), activations)
    result, _ = matvec_bits(q, np.atleast_2d(bits), config, activations, output)
    return floats.decode(result, output).reshape((*np.shape(x)[:-1], q.shape[0]))


def matvec_bits(
    q: QuantizedWeights,
    bits: np.ndarray,
    config: Configuration,
    activations: str = "fp16",
    output: str = "fp16",
) -> tuple[np.ndarray, np.ndarray]:
    """The same on bit patterns.

    Args:
        q: weights, [K, C].
        bits: uint16, [N, C], in the activation format.
        config: numeric parameters.
        activations: "fp16" or "bf16".
        output: "fp16", "bf16" or "fp32".

    Returns:
        uint32 bit patterns [N, K] in the low bits, and a bool [N, K] that is set where a finite sum became
        infinite.

    Raises:
        TypeError: the wrong kind of weights or configuration.
        ValueError: shapes do not fit, or activations cannot be aligned in such groups.
    """
    if not isinstance(q, QuantizedWeights):
        raise TypeError(
            f"weights of type {type(q).__name__} must be QuantizedWeights, what quantize() returns"
        )
    if not isinstance(getattr(config, "numerics", None), Numerics):
        raise TypeError(f"config {config!r} must have numerics, as what hw.config.preset() returns")
    numerics = config.numerics
    outputs, inputs = q.shape
    if bits.ndim != 2 or bits.shape[1] != inputs:
        raise ValueError(f"activations of shape {bits.shape} must be [N, {inputs}]")
    if q.groups > 1 and q.group not in numerics.group_lengths:
        allowed = ", ".join(map(str, numerics.group_lengths))
        raise ValueError(f"group {q.group} must be one of {allowed}, which activations are aligned in")
    if inputs > numerics.maximum_inputs:
        raise ValueError(f"inputs {inputs} must be at most {numerics.maximum_inputs}")
    values = q.integers()
    has_offset = q.offset_mantissa is not None
    bound = reach(numerics.group, numerics.activation_bits, q.dtype, q.scale_format, has_offset)
    results = np.empty((len(bits), outputs), np.uint32)
    overflows = np.empty((len(bits), outputs), bool)
    for row, vector in enumerate(bits):
        aligned = align(vector, activations, q.group, numerics.activation_bits)
        reference = int(aligned.exponents.max())
        distance = reference - aligned.exponents.astype(np.int64)
        dots = group_dot(aligned.integers, values, q.group)
        operand = dots + q.zero_point.astype(np.int64) * aligned.sums
        total = contribution(operand, q.scale_mantissa, distance + q.scale_distance, bound, numerics).sum(
            axis=1
        )
        if q.offset_mantissa is not None and q.offset_distance is not None:
            far = distance + q.offset_distance
            total += contribution(aligned.sums, q.offset_mantissa, far, bound, numerics).sum(axis=1)
        bias = floats.EXPONENT_BIAS[activations]
        exponent = output_exponent(q.channel_exponent, reference, bias, bound, numerics)
        special = np.broadcast_to(aligned.special, total.shape)
        results[row], overflows[row] = convert(total, exponent, special, output)
    return results, overflows
