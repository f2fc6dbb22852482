"""Matrices of E2M1 with small scales: MXFP4 and NVFP4 of gpt-oss, ModelOpt, compressed-tensors and MLX.

Two elements a byte, the first in the low nibble. MXFP4 has an E8M0 scale for every 32 elements, NVFP4 an E4M3
scale for every 16 and one float32 scale for the whole tensor, which ModelOpt multiplies by and
compressed-tensors divides by. Here that one is the layer's ``multiplier``, its reciprocal rounded once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from golden.checkpoint.bit_streams import even_first
from golden.checkpoint.gguf_blocks import e4m3, e8m0
from golden.checkpoint.safetensors_file import Place
from golden.checkpoint.tensor import Tensor
from golden.numbers import datatypes
from golden.weights.stored import Stored

__all__ = ["mlx", "mxfp4", "mxfp4_experts", "nvfp4", "nvfp4_divided"]

Parts = Mapping[str, Place]


def _fitting(parts: Parts, fits: bool, what: str) -> None:
    if not fits:
        shapes = ", ".join(f"{ending[1:]} {place.kind} {place.shape}" for ending, place in parts.items())
        raise ValueError(f"{shapes} must be {what}")


def _tensor(
    name: str, parts: Parts, kind: str, weight: str, scale: str, group: int, factor: Any = 1
) -> Tensor:
    """A matrix [K, C], or several, from bytes [.., K, C / 2] and scales [.., K, C / group]."""
    data, scales = parts[weight], parts[scale]
    shape = (*data.shape[:-1], 2 * data.shape[-1])
    form, decode = ("e8m0", e8m0) if group == 32 else ("e4m3", e4m3)
    kinds = ("U8", "F8_E8M0") if group == 32 else ("U8", "F8_E4M3")
    fits = len(shape) in (2, 3) and scales.kind in kinds and scales.shape == (*shape[:-1], shape[-1] // group)
    _fitting(parts, fits, f"bytes of {kind} and a scale for every {group} elements")

    def codes(number: int | None = None) -> Stored:
        values, scale = (
            even_first(data.read(number).view(np.uint8)),
            decode(scales.read(number).view(np.uint8)),
        )
        values = values.reshape(len(values), -1)
        return Stored(values, scale, group, dtype=datatypes.get("e2m1"), scale_format=form)

    stem = name.removesuffix(".weight")
    names = tuple(stem + ending for ending in parts)
    multipliers = np.broadcast_to(np.asarray(factor, np.float32), shape[0] if len(shape) == 3 else 1)
    if len(shape) == 2:
        return Tensor(name, shape, kind, "", codes=codes, multiplier=multipliers[0], parts=names, blocks=True)

    def expert(number: int) -> Tensor:
        own = f"{name}[{number}]"
        return Tensor(
            own, shape[1:], kind, "", codes=lambda: codes(number), multiplier=multipliers[number], blocks=True
        )

    return Tensor(name, shape, kind, "", expert=expert, parts=names, blocks=True)


def _bytes(place: Place) -> Place:
    """Words, or blocks of 16 bytes, as bytes of a row."""
    *rows, last = place.shape
    if place.kind == "U32":
        return Place(place.path, "U8", (*rows, 4 * last), place.start, place.size)
    return Place(place.path, "U8", (*rows[:-1], rows[-1] * last), place.start, place.size)


def mxfp4(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """mxfp4-pack-quantized of compressed-tensors."""
    return _tensor(name, parts, "MXFP4", ".weight_packed", ".weight_scale", 32)


def mxfp4_experts(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """gpt-oss: blocks [E, K, G, 16] and scales [E, K, G]."""
    blocks = parts["_blocks"]
    fits = len(blocks.shape) in (3, 4) and blocks.shape[-1] == 16 and blocks.kind == "U8"
    _fitting(parts, fits, "blocks of 16 bytes")
    return _tensor(name, {**parts, "_blocks": _bytes(blocks)}, "MXFP4", "_blocks", "_scales", 32)


def nvfp4(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """ModelOpt: weight_scale_2 multiplies."""
    factor = parts[".weight_scale_2"].read().astype(np.float32).reshape(-1)
    return _tensor(name, parts, "NVFP4", ".weight", ".weight_scale", 16, factor)


def nvfp4_divided(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """nvfp4-pack-quantized of compressed-tensors: weight_global_scale divides."""
    factor = parts[".weight_global_scale"].read().astype(np.float32).reshape(-1)
    if not factor.all():
        raise ValueError("weight_global_scale 0 must divide")
    return _tensor(name, parts, "NVFP4", ".weight_packed", ".weight_scale", 16, np.float32(1) / factor)


def mlx(name: str, parts: Parts, settings: dict[str, Any]) -> Tensor:
    """MLX without biases: mxfp4 or nvfp4, as the number of scales says."""
    words, scales = parts[".weight"], parts[".scales"]
    group = 32 if words.shape[-1] * 8 == scales.shape[-1] * 32 else 16
    kind = "MXFP4" if group == 32 else "NVFP4"
    return _tensor(name, {**parts, ".weight": _bytes(words)}, kind, ".weight", ".scales", group)
