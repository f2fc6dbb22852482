"""Linear layers of PyTorch models with kvloom's numerics."""

from collections.abc import Iterator
from fnmatch import fnmatch

import numpy as np
import torch
from torch import nn

from golden.model.linear import exact as exact_product
from golden.model.recipes import RECIPES, Quantized, Recipe
from golden.numbers.numerics import Numerics
from golden.weights.quantized import QuantizedWeights

__all__ = ["ExactLinear", "replace_linears"]


class ExactLinear(nn.Module):
    """A linear layer with the bits of ``golden.matvec`` and a bias that is added in float32; no gradient.

    Args:
        weights: quantised [K, C].
        bias: [K] or None.
        numerics: widths of the accelerator; the group is the weights' own.
        output: what sums are rounded to, "fp16" or "fp32".

    Raises:
        ValueError: more inputs than the accelerator takes.
    """

    def __init__(
        self,
        weights: QuantizedWeights,
        bias: torch.Tensor | None = None,
        numerics: Numerics | None = None,
        output: str = "fp32",
    ) -> None:
        super().__init__()
        base = numerics or Numerics()
        widths = (base.activation_bits, weights.group, base.accumulator_bits, base.maximum_inputs)
        self.out_features, self.in_features = weights.shape
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self._product = exact_product(weights, Numerics(*widths), output)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs [.., C] to outputs [.., K] of the same type, on the same device."""
        inputs = x.detach().to("cpu", torch.float32).reshape(-1, self.in_features).numpy()
        found = torch.from_numpy(self._product(inputs)).to(x.device)
        if self.bias is not None:
            found = found + self.bias.float()
        return found.to(x.dtype).reshape(*x.shape[:-1], self.out_features)


def replace_linears(
    model: nn.Module,
    recipe: str | Recipe,
    exact: bool = False,
    numerics: Numerics | None = None,
    skip: tuple[str, ...] = (),
) -> dict[str, Quantized]:
    """Give every linear layer of a model kvloom's weights, in place.

    Args:
        model: any model; the layer of ``get_output_embeddings()``, if it has that, stays as it is.
        recipe: a name in ``golden.model.recipes.RECIPES``, or a recipe that needs no calibration.
        exact: replace layers by ``ExactLinear``, which rounds activations and sums as the accelerator does;
            otherwise their weights are replaced by what the quantised ones stand for, in their own type.
        numerics: widths of the accelerator, for ``exact``.
        skip: patterns of names of modules, as ``fnmatch`` takes them, that stay as they are.

    Returns:
        The quantised weights [K, C] by the names of the modules.

    Raises:
        ValueError: no such recipe, or it does not fit a layer; the message names that, and no layer is
            replaced.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"recipe {recipe!r} must be one of {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    found: dict[str, Quantized] = {}
    layers = dict(_linears(model, skip))
    made: dict[str, nn.Module] = {}
    for name, layer in layers.items():
        try:
            found[name] = q = recipe.quantize(layer.weight.detach().to("cpu", torch.float32).numpy())
            if exact:
                if not isinstance(q, QuantizedWeights):
                    raise ValueError("exact must be False, these codes are not the hardware's")
                made[name] = ExactLinear(q, layer.bias, numerics)
        except ValueError as error:
            raise ValueError(f"module {name}: {error}") from None
    for name, layer in layers.items():
        if exact:
            model.set_submodule(name, made[name])
        else:
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(found[name].dequantize(np.float32)))
    return found


def _linears(model: nn.Module, skip: tuple[str, ...]) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers by name, but for the output layer and what is to be skipped."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    for name, module in model.named_modules():
        kept = module is output or any(fnmatch(name, pattern) for pattern in skip)
        if isinstance(module, nn.Linear) and not kept:
            yield name, module
