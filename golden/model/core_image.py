"""Memory images of models for the decode core: a checkpoint's matrices in the core's sizes.

A model is changed where the core wants other sizes, without a change of what it computes:

* heads are filled up to a multiple of 32 elements with zeros; queries, or the weights of their norm, are
  multiplied by the root of the ratio, which softmax divides by;
* the vector between the matrices of SwiGLU is filled up to a multiple of 16;
* rotary pairs that are neighbours move into the two halves of a head.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from golden.checkpoint import Checkpoint
from golden.core.commands import UNIT
from golden.core.geometry import Geometry
from golden.core.image import Image
from golden.core.model import Layer, Model, stacked
from golden.core.program import assemble
from golden.kv.schemes import Scheme
from golden.model import configuration, tokenizer
from golden.model.architecture import Architecture, bias_of
from golden.model.calibration import Importance
from golden.model.llama import Parts
from golden.model.recipes import RECIPES, Recipe
from golden.systems.kvtuner.tables import Layered
from golden.weights.quantized import QuantizedWeights

__all__ = ["image"]

Array = NDArray[np.float32]

_HEAD = 32
"""Elements of which a head has a multiple."""
_STACKS = {"kv": ("k", "v")} | {part: (part,) for part in ("q", "o", "gate", "up", "down")}
"""Matrices of a layer, and their parts one below the other."""


class _Fitted:
    """Reads a model's parts in the core's sizes."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        architecture: Architecture,
        recipe: Recipe,
        importance: Importance | None = None,
    ) -> None:
        self.get, self.architecture, self.recipe = Parts(checkpoint, architecture), architecture, recipe
        self.importance = importance
        self.channels = -(-architecture.channels // _HEAD) * _HEAD
        self.places, self.turned = self._order()
        self.ratio = np.float32(np.sqrt(self.channels / architecture.channels))

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

    def _heads(self, rows: Array, places: NDArray[np.intp]) -> Array:
        """Rows [heads * D, ..] of all heads, filled up."""
        own = rows.reshape(-1, self.architecture.channels, *rows.shape[1:])
        wide = np.zeros((len(own), self.channels, *rows.shape[1:]), rows.dtype)
        wide[:, places] = own
        return wide.reshape(-1, *rows.shape[1:])

    def _outputs(self, part: str, rows: Array) -> Array:
        """Rows of a matrix, or a bias, in the core's order."""
        if part in "qk":
            rows = self._heads(rows, self.turned)
        if part == "q" and "q_norm" not in self.architecture.parts:
            rows = rows * self.ratio
        if part == "v":
            rows = self._heads(rows, self.places)
        return _filled(rows) if part in ("gate", "up") else rows

    def _inputs(self, part: str, columns: NDArray) -> NDArray:
        """Columns of a matrix, transposed, or the importance of its inputs, in the core's order."""
        if part == "o":
            return self._heads(columns, self.places)
        return _filled(columns) if part == "down" else columns

    def linear(self, part: str, layer: int) -> QuantizedWeights:
        """A matrix of a block, quantised."""
        name = self.get.name(part, layer)
        weights = self._inputs(part, self._outputs(part, self.get(part, layer)).T).T
        counts = None if self.importance is None else self._inputs(part, self.importance[name])
        return _quantized(name, np.ascontiguousarray(weights), self.recipe, counts)

    def bias(self, part: str, layer: int) -> Array:
        """What is added to a matrix's products; zeros where the model has nothing."""
        known = bias_of(part) in self.architecture.parts
        rows = self.get(bias_of(part), layer) if known else np.zeros(len(self.get(part, layer)), np.float32)
        return self._outputs(part, rows)

    def head_norms(self, layer: int) -> tuple[Array, Array] | None:
        """Weights of the norms of queries and keys."""
        if "q_norm" not in self.architecture.parts:
            return None
        queries, keys = (self._heads(self.get(part, layer), self.turned) for part in ("q_norm", "k_norm"))
        return queries * self.ratio, keys

    def layer(self, number: int, scheme: Scheme) -> Layer:
        """A block."""
        known = self.architecture.parts
        matrices = {
            name: stacked(*(self.linear(part, number) for part in parts)) for name, parts in _STACKS.items()
        }
        biases = {
            name: np.concatenate([self.bias(part, number) for part in parts])
            for name, parts in _STACKS.items()
            if any(bias_of(part) in known for part in parts)
        }
        return Layer(
            **matrices,
            attention_norm=self.get("attention_norm", number),
            ffn_norm=self.get("ffn_norm", number),
            scheme=scheme,
            biases=biases,
            head_norms=self.head_norms(number),
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


def _filled(rows: NDArray) -> NDArray:
    """Rows, filled up with zeros to whole units."""
    return np.pad(rows, [(0, -len(rows) % UNIT)] + [(0, 0)] * (rows.ndim - 1))


def _quantized(
    name: str, weights: Array, recipe: Recipe, importance: NDArray[np.floating] | None = None
) -> QuantizedWeights:
    try:
        found = recipe.quantize(weights, importance)
    except ValueError as error:
        raise ValueError(f"tensor {name}: {error}") from None
    if not isinstance(found, QuantizedWeights):
        raise ValueError(f"recipe of tensor {name} must be one that packets hold")
    return found


def image(
    checkpoint: Checkpoint,
    recipe: Recipe,
    scheme: Scheme | Layered,
    core: Geometry,
    preset: str,
    limit: int,
    head: Recipe | None = None,
    progress: Progress | None = None,
    sequences: int = 1,
    importance: Importance | None = None,
    logits: bool = True,
) -> Image:
    """The image of a model.

    Args:
        checkpoint: the model.
        recipe: of its matrices.
        scheme: of its cache, or of that of each layer.
        core, preset: what it is made for, and its name.
        limit: tokens that there is room for.
        head: of the output layer; default: int8.
        progress: shows what is done.
        sequences: that take turns, each with so many tokens and a cache of its own.
        importance: of the inputs of every linear layer, for a calibrated recipe.
        logits: they go to memory.

    Raises:
        ValueError: the model, the recipe or the scheme does not fit the core.
    """
    architecture = configuration.read(checkpoint)
    if any(architecture.windows):
        raise ValueError(f"model of architecture {architecture.name} must have no sliding windows")
    schemes = scheme.layers if isinstance(scheme, Layered) else (scheme,) * architecture.layers
    if len(schemes) != architecture.layers:
        raise ValueError(f"table of {len(schemes)} layers must have {architecture.layers}, as the model has")
    recipe, head = _grouped(recipe, core), _grouped(head or RECIPES["int8"], core)
    fitted = _Fitted(checkpoint, architecture, recipe, importance)
    layers = []
    task = progress.add_task("layers", total=architecture.layers) if progress else None
    for number, own in enumerate(schemes):
        layers.append(fitted.layer(number, own))
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
        used_channels=architecture.channels,
        epsilon=architecture.epsilon,
        stops=tuple(sorted(tokenizer.ends(checkpoint)))[:2],
    )
    return assemble(model, core, limit, preset, logits, sequences)
