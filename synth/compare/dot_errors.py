"""How far dot products of the designs are off, by data type: quantised weights and each design's arithmetic.

Normal weights and activations, groups of 128; the relative error is the root of the mean squared difference
to float64 products of the weights before quantisation, over that of the products.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.baseline import bitmod_pe, fp16_dot, fp16_mac
from golden.matvec import matvec
from golden.weights.quantized import QuantizedWeights, quantize

__all__ = ["measure"]

_ROWS, _INPUTS, _TOKENS, _SEED = 32, 1024, 12, 7

Array = NDArray[np.floating]


def measure(designs: Iterable[tuple[str, str, Any]]) -> dict[tuple[str, str], float]:
    """Relative errors by label and data type.

    Args:
        designs: block, label and configuration; blocks without a rule here are left out.
    """
    designs, rng = list(designs), np.random.default_rng(_SEED)
    inputs = min(_INPUTS, *(config.maximum_inputs for _, _, config in designs))
    weights = rng.standard_normal((_ROWS, inputs)).astype(np.float32)
    x = rng.standard_normal((_TOKENS, inputs)).astype(np.float16).astype(np.float32)
    exact = x.astype(np.float64) @ weights.astype(np.float64).T
    found = {}
    for block, label, config in designs:
        for datatype, rule in _rules(block, config).items():
            error = rule(weights, x) - exact
            found[label, datatype] = float(np.sqrt((error**2).mean() / (exact**2).mean()))
    return found


def _rules(block: str, config: Any) -> dict[str, Callable[[Array, Array], Array]]:
    """Products of a design by data type."""
    if block == "tile":
        return {
            entry.name: lambda w, x, name=entry.name: matvec(
                quantize(w, name, config.group), x, config, output="fp32"
            ).astype(np.float64)
            for entry in config.datatypes
        }
    if block == "bitmod_pe":
        types = [entry.name for entry in config.datatypes if bitmod_pe.has(entry.name)]
        return {name: lambda w, x, name=name: _bitmod(quantize(w, name, 128), x) for name in types}
    if block == "fp16_int8_mac":
        return {"int8": lambda w, x: x.astype(np.float64) @ quantize(w, "int8", 128).dequantize().T}
    if block in _FP16:
        return {"fp16": lambda w, x: _fp16(_FP16[block], w, x)}
    return {}


_FP16: dict[str, Callable[[Array, Array], Array]] = {"fp16_mac": fp16_mac.dot, "fp16_dot": fp16_dot.dot}
"""Dot products along the last axis of FP16 numbers."""


def _fp16(dot: Callable[[Array, Array], Array], w: Array, x: Array) -> Array:
    """FP32 sums of products of FP16 numbers."""
    shape = (len(x), *w.shape)
    return dot(np.broadcast_to(w, shape), np.broadcast_to(x[:, None], shape)).astype(np.float64)


def _bitmod(q: QuantizedWeights, x: Array) -> Array:
    """Products with the truncations of BitMoD's processing element; groups are added without error."""
    tokens = np.asarray(x, np.float16).view(np.uint16).tolist()
    result = np.zeros((len(tokens), q.shape[0]))
    for row in range(q.shape[0]):
        for group in range(q.groups):
            start, code = group * q.group, int(q.scale_mantissa[row, group])
            integers = q.dtype.values(int(q.selector[row, group]))[q.codes[row, start : start + q.group]]
            lanes = [bitmod_pe.terms(q.dtype.name, int(value)) for value in integers]
            unit = q.scale[row, group] * q.channel[row] / max(code, 1)
            steps = [
                (start + place, [term for term, _ in terms], terms[0][1])
                for place in range(0, len(lanes), bitmod_pe.LANES)
                for terms in zip(*lanes[place : place + bitmod_pe.LANES], strict=True)
            ]
            for token, halves in enumerate(tokens):
                cycles = ((halves[at : at + bitmod_pe.LANES], terms, bsig) for at, terms, bsig in steps)
                mantissa, exponent = bitmod_pe.dequantise(bitmod_pe.group(cycles), code)
                result[token, row] += mantissa * 2.0 ** (exponent + bitmod_pe.UNIT) * unit
    return result
