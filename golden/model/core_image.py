"""Memory images of models for the decode core: a checkpoint's matrices in the core's sizes.

A model is changed where the core wants other sizes, without a change of what it computes:

* heads are filled up to a multiple of 32 elements with zeros; queries are multiplied by the root of the
  ratio, which softmax divides by;
* the vector between the matrices of SwiGLU is filled up to a multiple of 16;
* rotary pairs that are neighbours move into the two halves of a head.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from golden.checkpoint import Checkpoint
from golden.core.geometry import Geometry
from golden.core.image import Image
from golden.core.program import Layer, Model, assemble, stacked
from golden.kv.schemes import Scheme
from golden.model import configuration, tokenizer
from golden.model.architecture import LINEARS, Architecture
from golden.model.llama import Parts
from golden.model.recipes import RECIPES, Recipe
from golden.weights.quantized import QuantizedWeights

__all__ = ["image"]

_HEAD = 32
"""Elements of which a head has a multiple."""
_UNIT = 16


class _Fitted:
    """Reads a model's matrices in the core's sizes."""

    def __init__(self, checkpoint: Checkpoint, architecture: Architecture, recipe: Recipe) -> None:
        self.get, self.architecture, self.recipe = Parts(checkpoint, architecture), architecture, recipe
        self.channels = -(-architecture.channels // _HEAD) * _HEAD
        self.places, self.turned = self._order()

    def _order(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where the channels of values lie in a head, and those of queries and keys."""
        own, half = self.architecture.channels, len(self.architecture.angles)
        plain = np.arange(own)
        turned = plain[: 2 * half]
        pairs = turned.reshape(half, 2).T if self.architecture.paired else turned.reshape(2, half)
        places = np.zeros(own, np.intp)
        places[pairs] = np.arange(half) + np.array([[0], [self.channels // 2]])
        free = np.setdiff1d(np.arange(self.channels), places[: 2 * half])
        places[2 * half :] = free[: own - 2 * half]
        return plain, places

    def _rows(self, weights: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Rows [heads * D, C] of all heads, filled up."""
        own = weights.reshape(-1, self.architecture.channels, weights.shape[1])
        wide = np.zeros((len(own), self.channels, weights.shape[1]), np.float32)
        wide[:, places] = own
        return wide.reshape(-1, weights.shape[1])

    def linear(self, part: str, layer: int) -> QuantizedWeights:
        """A matrix of a block, quantised."""
        weights = self.get(part, layer)
        if part in "qk":
            weights = self._rows(weights, self.turned)
        if part == "q":
            weights = weights * np.float32(np.sqrt(self.channels / self.architecture.channels))
        if part == "v":
            weights = self._rows(weights, self.places)
        if part == "o":
            weights = np.ascontiguousarray(self._rows(weights.T, self.places).T)
        if part in ("gate", "up"):
            weights = np.pad(weights, ((0, -len(weights) % _UNIT), (0, 0)))
        if part == "down":
            weights = np.pad(weights, ((0, 0), (0, -weights.shape[1] % _UNIT)))
        return _quantized(self.get.name(part, layer), weights, self.recipe)

    def layer(self, number: int, scheme: Scheme) -> Layer:
        """A block."""
        own = {part: self.linear(part, number) for part in LINEARS}
        return Layer(
            stacked(own["q"], own["k"], own["v"]),
            own["o"],
            stacked(own["gate"], own["up"]),
            own["down"],
            self.get("attention_norm", number),
            self.get("ffn_norm", number),
            scheme,
        )

    def turns(self, limit: int) -> NDArray[np.float32]:
        """Cosines and sines of every position; channels that do not turn have 1 and 0."""
        angles = np.arange(limit)[:, None] * self.architecture.angles
        rest = ((0, 0), (0, self.channels // 2 - angles.shape[1]))
        sides = np.pad(np.cos(angles), rest, constant_values=1), np.pad(np.sin(angles), rest)
        return np.concatenate(sides, 1).astype(np.float32)


def _grouped(recipe: Recipe, core: Geometry) -> Recipe:
    """The recipe with groups that the core has."""
    return replace(recipe, group=min(recipe.group, core.numerics.group))


def _quantized(name: str, weights: NDArray[np.float32], recipe: Recipe) -> QuantizedWeights:
    try:
        found = recipe.quantize(weights)
    except ValueError as error:
        raise ValueError(f"tensor {name}: {error}") from None
    if not isinstance(found, QuantizedWeights):
        raise ValueError(f"recipe of tensor {name} must be one that packets hold")
    return found


def image(
    checkpoint: Checkpoint,
    recipe: Recipe,
    scheme: Scheme,
    core: Geometry,
    preset: str,
    limit: int,
    head: Recipe | None = None,
    progress: Progress | None = None,
    sequences: int = 1,
) -> Image:
    """The image of a model.

    Args:
        checkpoint: the model.
        recipe: of its matrices.
        scheme: of its cache.
        core, preset: what it is made for, and its name.
        limit: tokens that there is room for.
        head: of the output layer; default: int8.
        progress: shows what is done.
        sequences: that take turns, each with so many tokens and a cache of its own.

    Raises:
        ValueError: the model, the recipe or the scheme does not fit the core.
    """
    architecture = configuration.read(checkpoint)
    if set(architecture.parts) - {*LINEARS, "attention_norm", "ffn_norm"}:
        raise ValueError(
            f"model of architecture {architecture.name} must have neither biases nor norms of heads"
        )
    recipe, head = _grouped(recipe, core), _grouped(head or RECIPES["int8"], core)
    fitted = _Fitted(checkpoint, architecture, recipe)
    layers = []
    task = progress.add_task("layers", total=architecture.layers) if progress else None
    for number in range(architecture.layers):
        layers.append(fitted.layer(number, scheme))
        if progress and task is not None:
            progress.advance(task)
    embedding = fitted.get("embedding")
    tied = architecture.tied and not fitted.get.has("output")
    output = embedding if tied else fitted.get("output")
    model = Model(
        embedding=embedding.astype(np.float16),
        turns=fitted.turns(limit),
        layers=tuple(layers),
        norm=fitted.get("norm"),
        output=_quantized("output", output, head),
        heads=architecture.heads,
        kv_heads=architecture.kv_heads,
        channels=fitted.channels,
        epsilon=architecture.epsilon,
        stops=tuple(sorted(tokenizer.ends(checkpoint)))[:2],
    )
    return assemble(model, core, limit, preset, sequences=sequences)
