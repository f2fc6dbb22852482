"""Recipes: every way to quantise a model's weights, one table for all command lines and reports.

A recipe is a data type with its group, scale format, search and zero. Every data type of
``golden.numbers.datatypes`` has one of its own name; the others are named combinations. A new recipe is one
entry of ``_NAMED``.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from golden.baseline import ant, olive
from golden.checkpoint import Tensor
from golden.model import calibration
from golden.model.linear import Factory, Linear, dense, exact, rounded
from golden.numbers import datatypes, scales
from golden.numbers.numerics import Numerics
from golden.weights import search
from golden.weights.quantized import QuantizedWeights, quantize
from golden.weights.stored import packable

__all__ = ["RECIPES", "Quantized", "Recipe", "factory", "q4_0"]


class Quantized(Protocol):
    """Weights [K, C] after quantising: ``QuantizedWeights``, or those of a rule that it does not hold."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def group(self) -> int: ...

    @property
    def bits_per_weight(self) -> float: ...

    def dequantize(self, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]: ...


@dataclass(frozen=True)
class Recipe:
    """How to quantise a matrix of weights.

    Attributes:
        dtype: data type of the codes.
        group: inputs that share a scale; the last group of a row may be shorter.
        scale, search, zero: as for ``golden.weights.quantize``.
        own: quantises weights in groups instead, for a rule that ``golden.weights`` does not have; its scales
            are FP16.
        calibrated: the search counts errors by the size of the inputs (``golden.model.calibration``).
        stored: the codes of the model's file, exactly, and none of the above.
    """

    dtype: str
    group: int = 128
    scale: str = "int8"
    search: str = "published"
    zero: str = "integer"
    own: Callable[[NDArray[np.float32], int], Quantized] | None = None
    calibrated: bool = False
    stored: bool = False

    @property
    def definition(self) -> dict[str, Any]:
        """Its fields as plain data; of a rule of its own the place, the arguments and its file's hash."""
        return vars(self) | {"own": _described(self.own) if self.own else None}

    def quantize(
        self, weights: NDArray[np.float32], importance: NDArray[np.floating] | None = None
    ) -> Quantized:
        """Quantise weights [K, C]; a calibrated recipe needs the importance of the inputs [C]."""
        if self.stored:
            raise ValueError("a stored recipe needs the file's own codes")
        if self.calibrated:
            if importance is None:
                raise ValueError("a calibrated recipe needs the importance of the inputs")
            return calibration.quantize(weights, self.dtype, importance, self.group, self.scale)
        if self.own is not None:
            for name, value, own in ("scale", self.scale, "fp16"), ("search", self.search, "published"):
                if value != own:
                    raise ValueError(f"{name} {value!r} must be {own!r}, which this recipe's rule has")
            return self.own(weights, self.group)
        return quantize(weights, self.dtype, self.group, self.scale, self.search, self.zero)


def _described(rule: Callable) -> dict[str, Any]:
    inner = rule.func if isinstance(rule, partial) else rule
    given = [*rule.args, rule.keywords] if isinstance(rule, partial) else []
    source = inspect.getsourcefile(inner)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else None
    return {"rule": f"{inner.__module__}.{inner.__qualname__}", "arguments": given, "source": digest}


def q4_0(weights: NDArray[np.float32], group: int = 32) -> QuantizedWeights:
    """GGUF's Q4_0: groups of 32, the element of the largest magnitude becomes code -8.

    scale = that element / -8 in fp16, code = min(15, trunc(w / scale + 8.5)), both in float32 as ggml's
    quantize_row_q4_0_ref has them; the division is by multiplying with the reciprocal of the unrounded scale.
    A negative scale is held by its magnitude and the opposite integers, 8 included through a zero point of 1.

    Raises:
        ValueError: other groups, or the inputs are no multiple of 32.
    """
    rows, inputs = weights.shape
    if group != 32:
        raise ValueError(f"group {group} of q4_0 must be 32")
    if inputs % 32:
        raise ValueError(f"inputs {inputs} of q4_0 must be a multiple of 32")
    groups = weights.reshape(rows, -1, 32)
    place = np.abs(groups).argmax(-1)[..., None]
    scale = (np.take_along_axis(groups, place, -1) / np.float32(-8))[..., 0]
    reciprocal = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.minimum(15, np.trunc(groups * reciprocal[..., None] + np.float32(8.5))).astype(np.int32) - 8
    negative = scale < 0
    zero_point = negative.astype(np.int16)
    integers = np.where(negative[..., None], -codes, codes) - zero_point[..., None]
    kind, form = datatypes.get("int4_asym"), scales.get("fp16")
    stored = search.half(np.abs(scale).astype(np.float64))
    return QuantizedWeights(
        dtype=kind,
        group=32,
        scale_format=form,
        codes=kind.code_of[integers.reshape(rows, inputs) & 15],
        selector=np.zeros(scale.shape, np.uint8),
        zero_point=zero_point,
        **search.encode(stored, None, search.channel_for(stored.max(1), form), form),
    )


_NAMED: dict[str, Recipe] = {
    "stored": Recipe("stored", stored=True),
    "bitmod4_clip": Recipe("bitmod4", search="clip"),
    "bitmod3_clip": Recipe("bitmod3", search="clip"),
    "int4_asym_clip": Recipe("int4_asym", search="clip"),
    "int3_asym_clip": Recipe("int3_asym", search="clip"),
    "bitmod4_calibrated": Recipe("bitmod4", search="clip", calibrated=True),
    "bitmod3_calibrated": Recipe("bitmod3", search="clip", calibrated=True),
    "mxfp3": Recipe(
        "fp3", group=32, scale="e8m0", search="clip"
    ),  # OCP's rule would clip to half: no 3-bit MX
    "mxfp4": Recipe("e2m1", group=32, scale="e8m0"),
    "mxfp6": Recipe("e2m3", group=32, scale="e8m0"),
    "nvfp4": Recipe("e2m1", group=16, scale="e4m3"),
    "q4_0": Recipe("int4_asym", group=32, scale="fp16", own=q4_0),
    "q4_1": Recipe("int4_asym", group=32, scale="fp16", zero="float"),
    **{
        f"ant{bits}": Recipe(f"int{bits}", scale="fp16", own=partial(ant.quantize, bits=bits))
        for bits in (4, 3)
    },
    **{
        f"olive{bits}": Recipe(f"int{bits}", scale="fp16", own=partial(olive.quantize, bits=bits))
        for bits in (4, 3)
    },
}

RECIPES: dict[str, Recipe] = {name: Recipe(name) for name in datatypes.names()} | _NAMED
"""Every recipe by its name."""


def factory(
    recipe: Recipe | None,
    activations: int | str | None = None,
    numerics: Numerics | None = None,
    note: Callable[[Quantized], object] | None = None,
    importance: calibration.Importance | None = None,
    tensors: Callable[[str], Tensor] | None = None,
) -> Factory:
    """Make the linear layers of a model.

    Args:
        recipe: of the weights; None leaves them.
        activations: None for float32; "fp16" rounds them to FP16; a width 8..16 aligns them, and the product
            is then the accelerator's bit by bit, with FP32 results, if the weights are quantised.
        numerics: other widths of the accelerator; its group and width of activations are replaced.
        note: is shown every quantised matrix.
        importance: of the inputs of every linear layer, for calibrated recipes.
        tensors: of the model's file by their names, for stored ones.

    Raises (when a layer is made):
        ValueError: the recipe does not fit the layer, or the accelerator has no such weights.
    """
    width = activations if isinstance(activations, int) else None

    def make(name: str, weights: NDArray[np.float32]) -> Linear:
        if recipe is None:
            return dense(name, weights) if activations is None else rounded(weights, 128, width)
        if recipe.stored and tensors is not None:
            tensor = tensors(name)
            return _placed(multiplied(name, packable(tensor.quantized())), tensor)
        try:
            q = recipe.quantize(weights, importance[name] if importance else None)
        except ValueError as error:
            raise ValueError(f"tensor {name}: {error}") from None
        return multiplied(name, q)

    def multiplied(name: str, q: Quantized) -> Linear:
        if note is not None:
            note(q)
        if width is not None:
            if not isinstance(q, QuantizedWeights):
                raise ValueError(
                    f"activations {width} must be fp32 or fp16, these codes are not the hardware's"
                )
            base = numerics or Numerics()
            return exact(q, Numerics(width, q.group, base.accumulator_bits, base.maximum_inputs))
        real = q.dequantize(np.float32)
        return dense(name, real) if activations is None else rounded(real, q.group)

    return make


def _placed(product: Linear, tensor: Tensor) -> Linear:
    """A product whose inputs are put in the order of a stored matrix, its outputs times the multiplier."""
    order, factor = tensor.permutation, tensor.multiplier
    if order is None and factor == 1:
        return product
    return lambda x: product(x if order is None else x[:, order]) * factor
