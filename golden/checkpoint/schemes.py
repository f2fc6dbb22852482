"""Quantised matrices of safetensors models, which are several tensors each: which scheme has which parts.

A scheme is recognised by the endings of its tensors' names. What kvloom's numbers do not hold is refused by
its name, never half read. A new scheme is a row of ``_SCHEMES``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.checkpoint import float_schemes, integer_schemes
from golden.checkpoint.safetensors_file import Place
from golden.checkpoint.tensor import Tensor

__all__ = ["assembled"]

Parts = Mapping[str, Place]
"""Tensors of one matrix by the endings of their names."""

Make = Callable[[str, Parts, dict[str, Any]], Tensor]
"""Name of the matrix, its parts and the model's settings to the tensor."""


@dataclass(frozen=True)
class _Scheme:
    """One way to store a matrix.

    Attributes:
        key: ending of the part that gives the matrix its place.
        needed: endings of the other parts that must be there.
        optional: endings of parts that belong to it where they are there.
        make: reads it.
        ending: of the matrix's own name, after the common stem.
        kinds: types that the first part may have; empty: any.
    """

    key: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    make: Make
    ending: str = ".weight"
    kinds: tuple[str, ...] = ()


_ACTIVATIONS = (
    ".input_scale",
    ".input_global_scale",
    ".input_zero_point",
    ".output_scale",
    ".k_scale",
    ".v_scale",
)
_SCHEMES = (
    _Scheme(".qweight", (".qzeros", ".scales"), (".g_idx",), integer_schemes.gptq_or_awq),
    _Scheme(
        ".weight_packed",
        (".weight_scale", ".weight_global_scale"),
        _ACTIVATIONS,
        float_schemes.nvfp4_divided,
    ),
    _Scheme(
        ".weight_packed",
        (".weight_scale",),
        (".weight_shape", ".weight_zero_point", ".weight_g_idx", *_ACTIVATIONS),
        integer_schemes.compressed,
        kinds=("I32",),
    ),
    _Scheme(".weight_packed", (".weight_scale",), _ACTIVATIONS, float_schemes.mxfp4, kinds=("U8",)),
    _Scheme("_blocks", ("_scales",), (), float_schemes.mxfp4_experts, ending=""),
    _Scheme(
        ".weight", (".weight_scale", ".weight_scale_2"), _ACTIVATIONS, float_schemes.nvfp4, kinds=("U8",)
    ),
    _Scheme(".weight", (".weight_scale",), (), integer_schemes.bitnet, kinds=("U8",)),
    _Scheme(
        ".weight",
        (".weight_scale",),
        (".weight_zero_point", *_ACTIVATIONS),
        integer_schemes.whole_bytes,
        kinds=("I8",),
    ),
    _Scheme(".weight", (".scales", ".biases"), (), integer_schemes.mlx, kinds=("U32",)),
    _Scheme(".weight", (".scales",), (), float_schemes.mlx, kinds=("U32",)),
)

_FOREIGN = {
    ".absmax": "bitsandbytes (4 bits)",
    ".SCB": "bitsandbytes (LLM.int8)",
    ".weight_scale_inv": "FP8 in blocks",
    ".codebooks": "AQLM",
    ".q_weight": "EXL2",
    ".trellis": "EXL3",
    ".Qidxs": "QuIP#",
    ".W_q": "HQQ",
    ".qweight": "of a scheme with .qweight other than GPTQ and AWQ",
    ".weight_packed": "of a scheme with .weight_packed other than those of compressed-tensors that are read",
    ".weight_scale": "of a scheme with .weight_scale (FP8, perhaps) that is not read",
}
"""Endings of tensors of schemes that kvloom does not read."""


def assembled(path: Path, places: Mapping[str, Place], settings: dict[str, Any]) -> dict[str, Tensor]:
    """The quantised matrices of a model, by the name of the part that gives each its place.

    Raises:
        ValueError: a scheme that kvloom does not read, or parts that do not fit one another.
    """
    made: dict[str, Tensor] = {}
    taken: set[str] = set()
    for scheme in _SCHEMES:
        for name in places:
            if name in taken or not name.endswith(scheme.key):
                continue
            stem = name.removesuffix(scheme.key)
            if parts := _parts(scheme, stem, places):
                try:
                    tensor = scheme.make(stem + scheme.ending, parts, settings)
                except ValueError as error:
                    raise ValueError(f"{path}: tensor {name}: {error}") from None
                made[name] = tensor
                taken.update(stem + ending for ending in parts)
    for name in places:
        for ending, what in _FOREIGN.items():
            if name not in taken and name.endswith(ending):
                raise ValueError(f"{path}: tensor {name} is {what}, must be of a scheme that kvloom reads")
    return made


def _parts(scheme: _Scheme, stem: str, places: Mapping[str, Place]) -> dict[str, Place]:
    """The parts of a matrix by their endings; none where it is not of this scheme."""
    if scheme.kinds and places[stem + scheme.key].kind not in scheme.kinds:
        return {}
    if not all(stem + ending in places for ending in scheme.needed):
        return {}
    endings = (scheme.key, *scheme.needed, *scheme.optional)
    return {ending: places[stem + ending] for ending in endings if stem + ending in places}
