"""Matrices of integers with scales: GPTQ, AWQ, compressed-tensors, MLX and BitNet's packed ternary.

Codes are dense streams of bits in words, lowest first (``bit_streams``), along the axis named; G are groups.

==================  =====================================================================================
scheme              parts
==================  =====================================================================================
GPTQ                qweight int32 along the inputs of [C, K]; qzeros along the outputs of [G, K], v1 one
                    less; scales [G, K]; g_idx [C], the group of every input
AWQ                 qweight, qzeros int32 along the outputs of [C, K], [G, K], eight in the order
                    0 2 4 6 1 3 5 7; scales [G, K]
compressed-tensors  weight_packed int32 along the inputs of [K, C], 2^(bits - 1) added; weight_scale [K, G];
                    weight_zero_point int32 along the outputs of [K, G]; or weight int8 [K, C]
MLX                 weight uint32 along the inputs of [K, C]; scales and biases [K, G]
BitNet              weight uint8 [K / 4, C], the first quarter of the outputs in the lowest two bits, one
                    added; one weight_scale that divides or, with ``autobitlinear``, multiplies
==================  =====================================================================================
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint.bit_streams import unpack
from golden.checkpoint.safetensors_file import FLOATS, Place
from golden.checkpoint.tensor import Tensor
from golden.numbers import datatypes
from golden.weights.stored import Stored

__all__ = ["bitnet", "compressed", "gptq_or_awq", "mlx", "whole_bytes"]

Parts = Mapping[str, Place]

_AWQ_ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])
"""Places in a word of eight consecutive outputs."""


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(what)


def _names(name: str, parts: Parts, ending: str = ".weight") -> tuple[str, ...]:
    return tuple(name.removesuffix(ending) + part for part in parts)


def _shapes(parts: Parts) -> str:
    return ", ".join(f"{ending[1:]} {place.kind} {place.shape}" for ending, place in parts.items())


def _grouping(indices: NDArray, groups: int, group: int) -> NDArray[np.int32] | None:
    """The order of inputs that puts groups side by side; None where they already are."""
    plain = np.arange(len(indices)) // group
    if np.array_equal(indices, plain):
        return None
    order = np.argsort(indices, kind="stable").astype(np.int32)
    _require(
        np.array_equal(indices[order], plain) and indices.min() >= 0,
        f"g_idx must have {group} inputs in each of {groups} groups",
    )
    return order


def gptq_or_awq(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """The two schemes with the same names of parts: their words lie along other axes."""
    weight, scales, zeros = (parts[ending] for ending in (".qweight", ".scales", ".qzeros"))
    fits = len(weight.shape) == len(scales.shape) == 2 and weight.kind == zeros.kind == "I32"
    _require(fits and scales.kind in FLOATS, f"{_shapes(parts)} must be int32 and real matrices")
    groups, outputs = scales.shape
    if weight.shape[1] * 8 == outputs and zeros.shape == (groups, outputs // 8):
        return _awq(name, parts)
    bits = zeros.shape[1] * 32 // outputs
    fits = (
        weight.shape[1] == outputs and bits in (2, 3, 4, 8) and zeros.shape == (groups, outputs * bits // 32)
    )
    _require(fits, f"{_shapes(parts)} must be those of GPTQ with 2, 3, 4 or 8 bits or of AWQ (GEMM) with 4")
    return _gptq(name, parts, bits, 2 if settings.get("checkpoint_format") == "gptq_v2" else 1)


def _gptq(name: str, parts: Parts, bits: int, version: int) -> Tensor:
    groups, outputs = parts[".scales"].shape
    inputs = parts[".qweight"].shape[0] * 32 // bits
    group = -(-inputs // groups)
    order = None
    if ".g_idx" in parts:
        _require(parts[".g_idx"].shape == (inputs,), f"{_shapes(parts)} must have g_idx ({inputs},)")
        order = _grouping(parts[".g_idx"].read(), groups, group)

    def codes() -> Stored:
        values = unpack(parts[".qweight"].read().T, bits, inputs)
        zero = unpack(parts[".qzeros"].read(), bits, outputs).T.astype(np.int16)
        scale = parts[".scales"].read().T.astype(np.float32)
        values = values if order is None else values[:, order]
        return Stored(values, scale, group, bits, zero=zero + (version == 1))

    kind = f"GPTQ v{version}, {bits} bits"
    names = _names(name, parts)
    return Tensor(name, (outputs, inputs), kind, "", codes=codes, permutation=order, parts=names, blocks=True)


def _awq(name: str, parts: Parts) -> Tensor:
    groups, outputs = parts[".scales"].shape
    inputs = parts[".qweight"].shape[0]

    def eights(place: Place) -> NDArray[np.integer]:
        nibbles = unpack(place.read(), 4, outputs)
        return nibbles.reshape(len(nibbles), -1, 8)[..., _AWQ_ORDER].reshape(len(nibbles), -1).T

    def codes() -> Stored:
        scale = parts[".scales"].read().T.astype(np.float32)
        zero = eights(parts[".qzeros"]).astype(np.int16)
        return Stored(
            np.ascontiguousarray(eights(parts[".qweight"])), scale, -(-inputs // groups), 4, zero=zero
        )

    names = _names(name, parts)
    return Tensor(name, (outputs, inputs), "AWQ, 4 bits", "", codes=codes, parts=names, blocks=True)


def _grid(parts: Parts, outputs: int) -> tuple[int, int]:
    """Outputs and groups of compressed-tensors' scales."""
    shape = parts[".weight_scale"].shape
    return outputs, shape[1] if len(shape) == 2 else 1


def _scales(place: Place, outputs: int) -> NDArray[np.float32]:
    """Scales of a tensor, of outputs or of groups as ``[K, G]``."""
    scale = place.read().astype(np.float32)
    if scale.size == 1 or scale.ndim == 1:
        scale = scale.reshape(-1, 1)
    return np.broadcast_to(scale, (outputs, scale.shape[1]))


def compressed(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """pack-quantized of compressed-tensors."""
    packed, scale = parts[".weight_packed"], parts[".weight_scale"]
    shape = tuple(parts[".weight_shape"].read().tolist()) if ".weight_shape" in parts else None
    _require(len(packed.shape) == 2 and scale.kind in FLOATS, f"{_shapes(parts)} must be matrices")
    outputs, words = packed.shape
    inputs = shape[1] if shape else words * 32 // (_bits(settings) or 4)
    bits = next((bits for bits in range(2, 9) if -(-inputs * bits // 32) == words), 0)
    if (said := _bits(settings)) and -(-inputs * said // 32) == words:
        bits = said
    _require(bool(bits), f"{_shapes(parts)} must hold {inputs} codes of 2..8 bits a row")
    _require(not shape or shape == (outputs, inputs), f"weight_shape {shape} must be ({outputs}, {inputs})")
    _, groups = _grid(parts, outputs)
    group = -(-inputs // groups)
    order = _grouping(parts[".weight_g_idx"].read(), groups, group) if ".weight_g_idx" in parts else None

    def codes() -> Stored:
        values = unpack(packed.read(), bits, inputs)
        values = values if order is None else values[:, order]
        zero = _zero(parts, bits, outputs)
        return Stored(values, _scales(scale, outputs), group, bits, zero=zero)

    kind = f"compressed-tensors, {bits} bits"
    names = _names(name, parts)
    return Tensor(name, (outputs, inputs), kind, "", codes=codes, permutation=order, parts=names, blocks=True)


def _bits(settings: dict[str, Any]) -> int:
    """Bits of a weight as compressed-tensors' configuration says, if it says one number."""
    groups = settings.get("config_groups")
    found = {
        (entry.get("weights") or {}).get("num_bits")
        for entry in (groups.values() if isinstance(groups, dict) else ())
        if isinstance(entry, dict)
    }
    number = found.pop() if len(found) == 1 else None
    return number if isinstance(number, int) and 2 <= number <= 8 else 0


def _zero(parts: Parts, bits: int, outputs: int) -> NDArray[np.int16] | int:
    """Zero points of compressed-tensors as codes: packed along the outputs, or signed bytes."""
    half = 1 << bits - 1
    if ".weight_zero_point" not in parts:
        return half
    zero = parts[".weight_zero_point"].read()
    if zero.dtype == np.int32 and zero.ndim == 2:
        return unpack(zero.T, bits, outputs).T.astype(np.int16)
    zero = zero.astype(np.int16) + half
    return np.broadcast_to(zero.reshape(len(zero), -1) if zero.ndim else zero, _grid(parts, outputs))


def whole_bytes(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """int-quantized of compressed-tensors: signed bytes with scales."""
    weight, scale = parts[".weight"], parts[".weight_scale"]
    _require(len(weight.shape) == 2 and scale.kind in FLOATS, f"{_shapes(parts)} must be matrices")
    outputs, inputs = weight.shape
    group = -(-inputs // _grid(parts, outputs)[1])

    def codes() -> Stored:
        values = weight.read().view(np.uint8) ^ 128
        return Stored(values, _scales(scale, outputs), group, 8, zero=_zero(parts, 8, outputs))

    names = _names(name, parts)
    return Tensor(name, weight.shape, "compressed-tensors, int8", "", codes=codes, parts=names, blocks=True)


def mlx(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """MLX's affine quantisation; config.json says group and bits, for all layers or by their names."""
    weight, scales = parts[".weight"], parts[".scales"]
    own = settings.get(name.removesuffix(".weight"))
    own = settings | own if isinstance(own, dict) else settings
    bits, group = own.get("bits"), own.get("group_size")
    fits = isinstance(bits, int) and isinstance(group, int) and bits in (2, 3, 4, 5, 6, 8) and group > 0
    _require(fits, f"is MLX's, config.json must say bits and group_size of it, not {bits!r} and {group!r}")
    bits, group = int(str(bits)), int(str(group))
    *rows, words = weight.shape
    inputs = words * 32 // bits
    fits = len(rows) in (1, 2) and scales.shape == (*rows, inputs // group) == parts[".biases"].shape
    _require(fits, f"{_shapes(parts)} must be those of {bits} bits in groups of {group}")

    def codes(number: int | None = None) -> Stored:
        scale, offset = (parts[part].read(number).astype(np.float32) for part in (".scales", ".biases"))
        return Stored(unpack(weight.read(number), bits, inputs), scale, group, bits, offset=offset)

    return _with_experts(name, (*rows, inputs), f"MLX, {bits} bits", codes, _names(name, parts))


def _with_experts(name: str, shape: tuple[int, ...], kind: str, codes: Any, names: tuple[str, ...]) -> Tensor:
    """A matrix, or E of them in one tensor; ``codes`` takes the number of one."""
    if len(shape) == 2:
        return Tensor(name, shape, kind, "", codes=codes, parts=names, blocks=True)

    def expert(number: int) -> Tensor:
        own = f"{name}[{number}]"
        return Tensor(own, shape[1:], kind, "", codes=lambda: codes(number), blocks=True)

    return Tensor(name, shape, kind, "", expert=expert, parts=names, blocks=True)


def bitnet(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """BitNet's packed ternary; its one scale becomes the layer's multiplier."""
    weight, scale = parts[".weight"], parts[".weight_scale"]
    fits = len(weight.shape) == 2 and math.prod(scale.shape) == 1 and scale.kind in FLOATS
    _require(fits, f"{_shapes(parts)} must be packed ternary of BitNet, with one scale")
    outputs, inputs = 4 * weight.shape[0], weight.shape[1]
    factor = scale.read().astype(np.float32).item()
    divides = settings.get("linear_class", "bitlinear") != "autobitlinear"
    trits = np.array([2, 0, 1, 3], np.uint8)

    def codes() -> Stored:
        data = weight.read()
        values = np.concatenate([data >> shift & 3 for shift in (0, 2, 4, 6)])
        _require(values.max(initial=0) < 3, f"tensor {name} has codes of 3, must be 0..2")
        one = np.ones((outputs, 1), np.float32)
        return Stored(trits[values], one, inputs, dtype=datatypes.get("ternary"))

    multiplier = np.float32(1 / factor if divides else factor)
    names = _names(name, parts)
    return Tensor(
        name, (outputs, inputs), "BitNet", "", codes=codes, multiplier=multiplier, parts=names, blocks=True
    )
