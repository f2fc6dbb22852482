"""Calibrated weights: a search that counts a weight's error by how large its input is.

The error of a weight reaches the output multiplied by its input, so errors at inputs that are always large
cost most. Running a model over a short text gives every input's mean square h[c]; then each group takes,
among the candidates of ``golden.weights.search`` ("clip"), the one with the least

    sum over c of h[c] * (w[c] - quantised[c])^2

the mean squared error of the group's products for inputs that do not correlate. The bits and the circuits are
those of the type without calibration.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from golden.model.linear import Factory, Linear
from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.scales import ScaleFormat
from golden.weights import search
from golden.weights.quantized import QuantizedWeights, parts_of
from golden.weights.search import Nearest

__all__ = ["Importance", "mean_squares", "quantize"]

Array = NDArray[np.float32]
Importance = Mapping[str, NDArray[np.float64]]
"""Mean square of every input [C], by the name of the linear layer's tensor."""

_BLOCK = 1 << 16


def mean_squares(run: Callable[[Factory], object]) -> Importance:
    """Measure the inputs of every linear layer.

    Args:
        run: makes a model with the factory it is given, and runs it over some text.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}

    def watching(name: str, weights: Array) -> Linear:
        sums[name], counts[name] = np.zeros(weights.shape[1]), 0

        def product(x: Array) -> Array:
            sums[name] += np.square(x, dtype=np.float64).sum(0)
            counts[name] += len(x)
            return x @ weights.T

        return product

    run(watching)
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def quantize(
    weights: Array, dtype: str, importance: NDArray[np.floating], group: int = 128, scale: str = "int8"
) -> QuantizedWeights:
    """Quantise weights [K, C] to a type without a zero point.

    Args:
        weights: finite.
        dtype: name of the data type.
        importance: what a squared error of each input's weights counts, [C], not negative.
        group: inputs that share a scale; the last group of a row may be shorter.
        scale: name of a scale format.

    Raises:
        ValueError: the type has a zero point, or the importance does not fit.
    """
    kind, form = datatypes.get(dtype), scales.get(scale)
    if kind.asymmetric:
        raise ValueError(f"dtype {dtype!r} of a calibrated search must have no zero point")
    counts = np.asarray(importance, np.float32)
    if counts.shape != weights.shape[1:] or not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(
            f"importance of shape {counts.shape} must be [{weights.shape[1]}], finite, not negative"
        )
    rows = max(_BLOCK // weights.shape[1], 1)
    blocks = [
        _block(weights[first : first + rows], kind, form, group, counts)
        for first in range(0, len(weights), rows)
    ]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return QuantizedWeights(kind, group, form, **joined)


def _block(
    weights: Array, kind: DataType, form: ScaleFormat, group: int, counts: Array
) -> dict[str, NDArray]:
    """Arrays of ``QuantizedWeights`` for some rows."""
    parts = parts_of(np.ascontiguousarray(weights, np.float32), group)
    importance = parts_of(counts[None], group)
    extent, power = search.measure(parts), form.mantissa_bits == 0
    choices = search.candidates(kind, "clip", power)
    proposals = [search.proposal(extent, kind, choice, False, power) for choice in choices]
    channel = search.channel_for(np.max(proposals, axis=(0, 2)), form)
    stored = np.array([search.round_to_stored(proposal, channel, form) for proposal in proposals])
    errors = [
        _errors(parts, importance, scale, kind, choice.selector)
        for choice, scale in zip(choices, stored, strict=True)
    ]
    best = np.argmin(errors, axis=0)
    scale = np.take_along_axis(stored, best[None], 0)[0]
    selector = np.array([choice.selector for choice in choices], np.uint8)[best]
    codes = [
        Nearest(kind).code(part / _divisor(own), special, 0).reshape(len(part), -1)
        for part, own, special in zip(parts, _split(scale, parts), _split(selector, parts), strict=True)
    ]
    return {
        "codes": np.concatenate(codes, 1),
        "selector": selector,
        "zero_point": np.zeros(scale.shape, np.int16),
        **search.encode(scale, None, channel, form),
    }


def _errors(
    parts: list[Array], importance: list[Array], scale: NDArray[np.float64], kind: DataType, selector: int
) -> NDArray[np.float64]:
    """Weighted squared error of every group [k, D]."""
    errors = []
    for part, counts, own in zip(parts, importance, _split(scale, parts), strict=True):
        quotient = part / _divisor(own)
        difference = np.square(Nearest(kind).value(quotient, selector, 0) - quotient)
        errors.append((difference * counts).sum(-1) * np.square(own[..., 0]))
    return np.concatenate(errors, 1)


def _divisor(scale: NDArray[np.float64]) -> Array:
    return np.where(scale > 0, scale, 1).astype(np.float32)


def _split(per_group: NDArray, parts: list[Array]) -> list[NDArray]:
    """What belongs to each part's groups, [k, d, 1]."""
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]
    return [own[..., None] for own in np.split(per_group, edges, axis=1)]
