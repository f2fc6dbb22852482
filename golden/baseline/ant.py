"""ANT (MICRO 2022): codes of an adaptive data type, one of two for every group.

A group of weights or activations is either plain integers or *flint*, whose codes are dense like integers
near zero and sparse like floats above. Hardware sees both as an integer and an exponent:

    value = integer * 2**exponent

Points fixed here:

- int4 is two's complement, with -8 in the table although symmetric quantisers leave it out.
- flint4 is the entry of ``golden.numbers.datatypes``: a sign above three bits in the order of the magnitudes.
  The paper orders them by the position of the first one, which permutes four codes and costs the same logic.
- The integer of flint4 is the shortest one, at most 3: 4, 6, 8 and 16 are 2 << 1, 3 << 1, 2 << 2 and 2 << 3.
- The 3-bit pair is the one BitMoD's evaluation gives ANT (HPCA 2025): two's complement, and a sign above
  0, 1, 2 and 4. No circuit is built for it.
- So is the quantiser: a group's scale brings its largest magnitude to the type's largest value. ANT's own
  shrinks the scale of a whole output by the squared error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden import weights
from golden.numbers import datatypes
from golden.weights.quantized import QuantizedWeights

__all__ = ["ADAPTIVE", "INTEGERS", "AdaptiveWeights", "decode", "encode", "quantize", "split"]


def _flint4() -> tuple[int, ...]:
    return tuple(datatypes.get("flint4").values().tolist())


INTEGERS: dict[str, tuple[int, ...]] = {
    "int4": (*range(8), *range(-8, 0)),
    "flint4": _flint4(),
    "int3": (*range(4), *range(-4, 0)),
    "fp3": (0, 1, 2, 4, 0, -1, -2, -4),
}
"""Integer value of every code by type; "-0" is 0."""

ADAPTIVE: dict[int, tuple[str, str]] = {4: ("int4", "flint4"), 3: ("int3", "fp3")}
"""The two types that a group chooses from, by bits; the place in the pair is the group's select bit."""


def _table(kind: str) -> np.ndarray:
    if kind not in INTEGERS:
        raise ValueError(f"type {kind!r} must be one of {', '.join(INTEGERS)}")
    return np.array(INTEGERS[kind], np.int32)


def decode(codes: np.ndarray, kind: str) -> np.ndarray:
    """Integers of codes.

    Args:
        codes: unsigned integers, any shape.
        kind: one of INTEGERS.

    Returns:
        int32 array of the same shape.

    Raises:
        ValueError: no such type, or a code has too many bits.
    """
    table, codes = _table(kind), np.asarray(codes)
    if codes.size and not 0 <= codes.min() <= codes.max() < len(table):
        raise ValueError(f"codes of {kind} must be 0..{len(table) - 1}")
    return table[codes]


def encode(values: np.ndarray, kind: str) -> np.ndarray:
    """Codes of integers that the type has; 0 gets code 0.

    Args:
        values: integers, any shape.
        kind: one of INTEGERS.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: no such type, or it lacks a value.
    """
    table, values = _table(kind), np.asarray(values)
    same = values[..., None] == table
    if not same.any(-1).all():
        raise ValueError(f"values of {kind} must be among {', '.join(map(str, sorted(set(table.tolist()))))}")
    return same.argmax(-1).astype(np.uint8)


def split(code: int, kind: str) -> tuple[int, int]:
    """Integer and exponent that the decoder makes of a 4-bit code.

    Raises:
        ValueError: no such type, or the code has too many bits.
    """
    value = int(decode(np.array(code), kind))
    exponent = 0
    while kind == "flint4" and abs(value) >> exponent > 3:
        exponent += 1
    return value >> exponent, exponent


@dataclass(frozen=True, eq=False)
class AdaptiveWeights:
    """A matrix of K outputs and C inputs in D groups an output, each in one of two types.

    Attributes:
        kinds: the matrix in both types.
        select: uint8 [K, D], place of each group's type among them.
    """

    kinds: tuple[QuantizedWeights, QuantizedWeights]
    select: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs K and inputs C."""
        return self.kinds[0].shape

    @property
    def group(self) -> int:
        """Inputs of a group; the last one may be shorter."""
        return self.kinds[0].group

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight, its share of scale and select bit included."""
        return self.kinds[0].bits_per_weight + self.select.shape[1] / self.shape[1]

    def dequantize(self, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
        """Real weights [K, C], exact in float64."""
        first, second = (kind.dequantize(dtype) for kind in self.kinds)
        return np.where(self.kinds[0].per_input(self.select), second, first)


def quantize(w: NDArray[np.floating], group: int = 128, bits: int = 4) -> AdaptiveWeights:
    """Quantise weights [K, C], every group to the type of the smaller squared error; integers win a tie.

    Args:
        w: finite.
        group: inputs that share a scale, an FP16 number.
        bits: 3 or 4.

    Raises:
        ValueError: other bits, or as ``golden.weights.quantize``.
    """
    if bits not in ADAPTIVE:
        raise ValueError(f"bits {bits} must be one of {', '.join(map(str, sorted(ADAPTIVE)))}")
    first, second = (weights.quantize(w, name, group, "fp16") for name in ADAPTIVE[bits])
    starts = np.arange(0, first.shape[1], group)
    errors = [np.add.reduceat(np.square(q.dequantize() - w), starts, axis=1) for q in (first, second)]
    return AdaptiveWeights((first, second), (errors[1] < errors[0]).astype(np.uint8))
