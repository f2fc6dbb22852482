"""Evaluation: how well a model still predicts, with its weights, activations and cache in some setting.

What is read is cut into windows (``golden.model.subjects``). A result keeps each window's mean loss, so that
two settings can be compared window by window.
"""

import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from golden.checkpoint import Tensor
from golden.kv.schemes import Scheme
from golden.model.attention import Memory, Plain
from golden.model.calibration import Importance
from golden.model.engine_memory import EngineMemory
from golden.model.frame_memory import FrameMemory, store
from golden.model.kv_schemes import QuantizedMemory
from golden.model.linear import Factory, dense
from golden.model.operations import CORE, FLOAT, Operations
from golden.model.perplexity import Difference, compare
from golden.model.recipes import RECIPES, Quantized, Recipe, factory
from golden.model.system_memory import SystemMemory
from golden.numbers.numerics import Numerics
from golden.systems import registry
from golden.systems.kvtuner.tables import Layered
from golden.systems.layers import Layer
from golden.systems.layers.vidkv import VidKV

__all__ = ["Result", "Setting", "Subject", "Window", "evaluate"]

Window = tuple[int, float, float | None]
"""Tokens that were scored, their mean loss, and for sounds their mean divergence, both in nats."""


@dataclass(frozen=True)
class Setting:
    """What is quantised, and how.

    Attributes:
        weights: a name in ``golden.model.recipes.RECIPES``, or "none".
        activations: "fp32", "fp16", or the width "8".."16" they are aligned to.
        kv: a name that ``golden.systems.registry.get`` knows, or "none".
        group, scale, search: replace those of the recipe.
        attention: width "8".."16" of the attention engine's activations, with a scheme of whole pages; None
            for attention in float32 on the same numbers.
        head: a name in ``RECIPES`` that quantises the output layer too; None leaves it in float32.
        numerics: "core" for operations on vectors as the decode core works them out; None for float32.

    Raises:
        ValueError: a head that is calibrated or stored.
    """

    weights: str = "none"
    activations: str = "fp32"
    kv: str = "none"
    group: int | None = None
    scale: str | None = None
    search: str | None = None
    attention: str | None = None
    head: str | None = None
    numerics: str | None = None

    def __post_init__(self) -> None:
        if self.head is not None and (RECIPES[self.head].calibrated or RECIPES[self.head].stored):
            raise ValueError(f"head {self.head!r} must be neither calibrated nor stored")

    @property
    def name(self) -> str:
        """A name that tells settings apart."""
        parts = (str(part).replace("/", "_") for part in asdict(self).values() if part is not None)
        return "-".join(parts)

    @property
    def recipe(self) -> Recipe | None:
        """How the weights are quantised."""
        return None if self.weights == "none" else self._recipe(self.weights)

    def _recipe(self, name: str) -> Recipe:
        return replace(RECIPES[name], **self.changes)

    @property
    def full_precision(self) -> bool:
        """Whether linear layers are as stored and multiply float32."""
        return (self.weights, self.activations) == ("none", "fp32")

    @property
    def calibrated(self) -> bool:
        """Whether its weights depend on a text to calibrate with."""
        return self.recipe is not None and self.recipe.calibrated

    @property
    def changes(self) -> dict[str, Any]:
        """What replaces the recipe's own."""
        own = {"group": self.group, "scale": self.scale, "search": self.search}
        return {name: value for name, value in own.items() if value is not None}

    @property
    def definition(self) -> dict[str, Any]:
        """The setting and what its names stand for, as plain data."""
        recipe, exact = self.recipe, self.activations.isdecimal()
        return {
            "setting": asdict(self),
            "recipe": recipe.definition if recipe else None,
            "head": self._recipe(self.head).definition if self.head else None,
            "scheme": None if self.kv == "none" else asdict(registry.get(self.kv)),
            "numerics": asdict(Numerics()) if exact or self.attention else None,
        }

    def linear(
        self,
        note: Callable[[Quantized], object] | None = None,
        calibrate: Callable[[], Importance] | None = None,
        tensors: Callable[[str], Tensor] | None = None,
    ) -> Factory:
        """What makes the linear layers; ``calibrate`` is called where the recipe needs it."""
        importance = calibrate() if self.calibrated and calibrate else None
        return factory(self.recipe, self._activations, None, note, importance, tensors)

    @property
    def output(self) -> Factory:
        """What makes the output layer."""
        return dense if self.head is None else factory(self._recipe(self.head), self._activations)

    @property
    def operations(self) -> Operations:
        """On vectors between the layers."""
        return FLOAT if self.numerics is None else CORE

    @property
    def _activations(self) -> int | str | None:
        width = {"fp32": None, "fp16": "fp16"}.get(self.activations, self.activations)
        return int(width) if width and width.isdecimal() else width

    def memory(self, heads: int, channels: int, place: tuple[int, int] | None = None) -> Memory:
        """A layer's memory of keys and values.

        Args:
            heads, channels: of the cache.
            place: number of the layer, and how many there are; a table of layers needs it.

        Raises:
            ValueError: a scheme that does not fit, or a table of another number of layers.
        """
        if self.kv == "none":
            return Plain(heads, channels)
        scheme = registry.get(self.kv)
        if isinstance(scheme, Layered):
            if place is None or place[1] != len(scheme.layers):
                layers = "no place" if place is None else f"{place[1]} layers"
                raise ValueError(f"table {self.kv!r} of {len(scheme.layers)} layers must fit: {layers}")
            scheme = scheme.layers[place[0]]
        if not isinstance(scheme, Scheme):
            if self.attention is not None:
                raise ValueError(f"cache system {self.kv!r} must read attention in float32")
            return SystemMemory(scheme.layer(heads, channels))
        if self.attention is not None:
            return EngineMemory(heads, channels, scheme, Numerics(int(self.attention)))
        return QuantizedMemory(heads, channels, scheme)

    def frames(self, heads: int, channels: int, prompt: int) -> Memory:
        """A layer's memory of frames that are all there before the first query.

        Args:
            heads, channels: of the cache.
            prompt: how many of the first queries may choose frames.

        Raises:
            ValueError: a scheme that decides token by token or layer by layer, or the engine's numerics.
        """
        if self.attention is not None:
            raise ValueError("the attention engine's numerics must be those of causal attention")
        if self.kv == "none":
            return Plain(heads, channels, causal=False)
        scheme = registry.get(self.kv)
        if not isinstance(scheme, Scheme | VidKV):
            raise ValueError(f"cache {self.kv!r} of frames must be one of plain formats or VidKV")
        return FrameMemory(heads, channels, store(scheme), prompt)


@dataclass(frozen=True)
class Result:
    """What a setting did.

    Attributes:
        setting: the setting.
        windows: one for each piece of what was read.
        bits_per_weight: of the linear layers, metadata included; None where they are as stored.
        kv_bits: of a quantised element of the cache, metadata included; None without quantisation. Of a
            system that of all elements, evicted ones too, at the end of the windows.
        prepared, seconds: time to make the layers, and to read.
        memory: largest resident memory of the process so far, in bytes.
        frame_errors: relative squared errors of keys and values of quantised frames, mean of layers and
            sounds; None without any.
    """

    setting: Setting
    windows: list[Window]
    bits_per_weight: float | None
    kv_bits: float | None
    prepared: float
    seconds: float
    memory: int
    frame_errors: tuple[float, float] | None = None

    @property
    def tokens(self) -> int:
        """Tokens that were scored."""
        return sum(count for count, _, _ in self.windows)

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss."""
        return float(np.exp(sum(count * mean for count, mean, _ in self.windows) / self.tokens))

    @property
    def divergence(self) -> float | None:
        """Mean Kullback-Leibler divergence from full precision in nats, for sounds."""
        known = [(count, mean) for count, _, mean in self.windows if mean is not None]
        return sum(count * mean for count, mean in known) / self.tokens if known else None

    def against(self, base: "Result") -> Difference:
        """Paired difference of the loss, with its standard error over windows (NaN for a single one)."""
        return self._paired(*([mean for _, mean, _ in one.windows] for one in (self, base)))

    def diverging(self, base: "Result") -> Difference | None:
        """Paired difference of the divergence from full precision, for sounds."""
        own, other = ([mean for _, _, mean in one.windows if mean is not None] for one in (self, base))
        return self._paired(own, other) if own else None

    def _paired(self, own: Sequence[float], other: Sequence[float]) -> Difference:
        differences = [mean - base for mean, base in zip(own, other, strict=True)]
        return compare([count for count, _, _ in self.windows], differences)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return asdict(self)


class Subject(Protocol):
    """A model and what it reads."""

    @property
    def channels(self) -> int: ...

    def __len__(self) -> int: ...

    def identity(self, setting: Setting) -> dict[str, Any]:
        """Hashes of all that it is made of, as far as a setting needs it."""
        ...

    def prepare(
        self, setting: Setting, note: Callable[[Quantized], object], made: Callable[[Memory], object]
    ) -> Callable[[], Iterator[Window]]:
        """Make the model, and what reads; ``note`` is told of quantised weights, ``made`` of memories."""
        ...


def evaluate(
    subject: Subject, setting: Setting, step: Callable[[list[Window]], object] | None = None
) -> Result:
    """Read everything in one setting.

    Args:
        subject: model and text or sounds.
        setting: what is quantised.
        step: is called after each window with those so far.

    Raises:
        ValueError: a recipe or scheme does not fit the model.
    """
    begin, bits, cached = time.monotonic(), [0.0, 0], [0.0, 0]
    layers: list[Layer | FrameMemory] = []
    errors: list[tuple[float, float]] = []

    def note(q: Quantized) -> None:
        size = math.prod(q.shape)
        bits[0] += q.bits_per_weight * size
        bits[1] += size

    def made(memory: Memory) -> None:
        if isinstance(memory, SystemMemory):
            layers.append(memory.layer)
        if isinstance(memory, FrameMemory):
            layers.append(memory)

    read = subject.prepare(setting, note, made)
    middle, found = time.monotonic(), []
    for window in read():
        found.append(window)
        cached[0] += sum(layer.bits for layer in layers)
        cached[1] += sum(layer.closed_elements for layer in layers)
        errors += [layer.errors for layer in layers if isinstance(layer, FrameMemory)]
        layers.clear()
        if step is not None:
            step(found)
    return Result(
        setting,
        found,
        bits[0] / bits[1] if bits[1] else None,
        _cache_bits(setting, subject.channels, *cached),
        round(middle - begin, 3),
        round(time.monotonic() - middle, 3),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        _means(errors),
    )


def _cache_bits(setting: Setting, channels: int, bits: float, elements: int) -> float | None:
    """Bits of an element: what was counted, or what a scheme has for each."""
    if elements:
        return bits / elements
    scheme = None if setting.kv == "none" else registry.get(setting.kv)
    return scheme.bits_per_element(channels) if isinstance(scheme, Scheme | Layered) else None


def _means(errors: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Of keys and of values."""
    if not errors:
        return None
    keys, values = np.mean(errors, 0).tolist()
    return keys, values
