"""What becomes of a model's tensors: packed exactly, requantised, quantised or copied, and why."""

import os
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint.tensor import Tensor
from golden.weights import layout
from golden.weights.presets import Shape
from golden.weights.quantized import QuantizedWeights, quantize
from golden.weights.stored import Inexact, packable

__all__ = ["COPIED", "EXACT", "QUANTISED", "REQUANTISED", "STORED", "Outcome", "Rule", "converted"]

STORED = "stored"
"""The data type that keeps what the file has."""

EXACT, REQUANTISED, QUANTISED, COPIED = "packed exactly", "requantised", "quantised", "copied"
_BLOCK = 1 << 18
_FIELDS = frozenset(part.name for part in fields(QuantizedWeights))

Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Rule:
    """How the linear layers are packed: ``dtype`` may be ``STORED``, then the next four do not matter."""

    dtype: str
    shape: Shape
    group: int = 128
    scale: str = "int8"
    search: str = "published"
    zero: str = "integer"


@dataclass(frozen=True)
class Outcome:
    """What became of a tensor.

    Attributes:
        name, shape, kind: of the tensor as the file has it.
        what: one of the four words of this module.
        why: where it is copied, the reason.
        bits_per_weight: of the packed form, or of the copy.
        error, power: sums of squares of the packed form's error and of the weights.
        packed: data type, group, multiplier and so on of a packed matrix.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    what: str
    why: str = ""
    bits_per_weight: float = 0.0
    error: float = 0.0
    power: float = 0.0
    packed: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def relative_error(self) -> float:
        """Mean squared error relative to the mean square of the weights."""
        return self.error / self.power if self.power else 0.0


def converted(tensors: tuple[Tensor, ...], rule: Rule) -> Iterator[tuple[Arrays, Outcome]]:
    """The output's tensors and what became of the input's, in their order; all cores work on them.

    Raises:
        ValueError: a layer cannot be packed as the rule says; the message names it.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor = ThreadPoolExecutor(workers)
    waiting: deque[Future] = deque()
    try:
        for tensor in tensors:
            waiting.append(executor.submit(_one, tensor, rule))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _one(tensor: Tensor, rule: Rule) -> tuple[Arrays, Outcome]:
    if not tensor.linear:
        return _copied(tensor, tensor.role)
    try:
        return _packed(tensor, rule)
    except Inexact as error:
        return _copied(tensor, re.sub(r"^tensor \S+: ", "", str(error)))
    except ValueError as error:
        raise ValueError(f"tensor {tensor.name}: {error}") from None


def _copied(tensor: Tensor, why: str) -> tuple[Arrays, Outcome]:
    values = tensor.stored()
    if tensor.blocks:
        why = f"{why}; as {values.dtype}"
    bits = 8.0 * values.dtype.itemsize
    return {tensor.name: values}, Outcome(tensor.name, tensor.shape, tensor.kind, COPIED, why, bits)


def _packed(tensor: Tensor, rule: Rule) -> tuple[Arrays, Outcome]:
    """A layer's packet, or one for each of its experts, all of one length: uint8 [bytes] or [E, bytes]."""
    exact = rule.dtype == STORED
    packets, error, power, bits = [], 0.0, 0.0, 0.0
    q = None
    for matrix in tensor.matrices():
        if exact:
            q = packable(matrix.quantized(rule.shape.group))
        else:
            weights = matrix.array()
            q = quantize(weights, rule.dtype, rule.group, rule.scale, rule.search, rule.zero)
            added, squares = _measured(weights, q)
            error, power = error + added, power + squares
        packets.append(np.frombuffer(_packet(q, rule), np.uint8))
        bits += q.bits_per_weight
    assert q is not None
    data = np.stack(packets) if tensor.expert else packets[0]
    packed: dict[str, Any] = {"dtype": q.dtype.name, "group": q.group, "scale": q.scale_format.name}
    arrays: Arrays = {tensor.name: data}
    if exact and tensor.permutation is not None:
        packed["permutation"] = f"{tensor.name}.permutation"
        arrays[packed["permutation"]] = tensor.permutation
    factors = [float(matrix.multiplier) for matrix in tensor.matrices()]
    if exact and any(factor != 1 for factor in factors):
        packed["multiplier"] = factors if tensor.expert else factors[0]
    what = EXACT if exact else REQUANTISED if tensor.blocks else QUANTISED
    return arrays, Outcome(
        tensor.name, tensor.shape, tensor.kind, what, "", bits / len(packets), error, power, packed
    )


def _packet(q: QuantizedWeights, rule: Rule) -> bytes:
    shape = rule.shape
    try:
        return layout.pack(q, rows=shape.rows, lanes=shape.lanes, word_bits=shape.word_bits)
    except ValueError as error:
        if rule.dtype == STORED:
            raise Inexact(f"a packet does not hold it: {error}") from None
        raise


def _measured(weights: NDArray[np.float32], q: QuantizedWeights) -> tuple[float, float]:
    """Squares of the error and of the weights [K, C]."""
    step = max(_BLOCK // weights.shape[1], 1)
    error = power = 0.0
    for first in range(0, len(weights), step):
        rows = slice(first, first + step)
        error += float(np.square(_rows(q, rows).dequantize() - weights[rows]).sum())
        power += float(np.square(weights[rows], dtype=np.float64).sum())
    return error, power


def _rows(q: QuantizedWeights, rows: slice) -> QuantizedWeights:
    """Some rows of a matrix."""
    arrays = {name: value[rows] for name, value in vars(q).items() if isinstance(value, np.ndarray)}
    return replace(q, **{name: arrays[name] for name in arrays if name in _FIELDS})
