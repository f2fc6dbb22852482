"""Aligner: FP16, BF16 or TF32 activations to integers that share one exponent a group.

With the exponent field ``e`` (field 0 counts as 1 without hidden bit, so subnormals are exact), ``f``
fraction bits and the significand ``s`` of f + 1 bits, group ``g`` has

    E[g] = max of e over the group
    a    = sign * saturate(rne(s * 2**(A - 2 - f) * 2**(e - E[g])))
    S[g] = sum of a over the group

so that an element's value is ``a * 2**(E[g] - bias - (A - 2))`` up to the two roundings:

* ``rne``, to the nearest integer, ties to even;
* ``saturate``, to ``2**(A - 1) - 1``: what ``rne`` rounds up to ``2**(A - 1)``, possible for A - 2 < f only.

A finite element's error is at most half a unit, or one unit where it saturates. NaN and infinity count as
+0 and mark their vector.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["FORMATS", "Aligned", "FloatFormat", "align"]

_MINIMUM_BITS, _MAXIMUM_BITS = 8, 16
_LONGEST_SHIFT = 40  # beyond it every element rounds to 0
_POWERS = np.exp2(-np.arange(_LONGEST_SHIFT + 1.0))


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format.

    Attributes:
        exponent_bits: width of the exponent field.
        fraction_bits: width of the fraction field.
    """

    exponent_bits: int
    fraction_bits: int

    @property
    def bias(self) -> int:
        """Exponent field of 1.0."""
        return (1 << self.exponent_bits - 1) - 1

    @property
    def special(self) -> int:
        """Exponent field of NaN and infinity."""
        return (1 << self.exponent_bits) - 1


FORMATS = {"fp16": FloatFormat(5, 10), "bf16": FloatFormat(8, 7)}
"""Formats of the vectors that an accelerator is given."""
_LAYOUTS = FORMATS | {"tf32": FloatFormat(8, 10)}
"""With that of the products in the attention engine: the exponent of one, the significand of the other."""


@dataclass(frozen=True)
class Aligned:
    """Aligned vectors of C elements in D = ceil(C / group) groups.

    Attributes:
        integers: int32 [..., C], each in -(2**(A - 1) - 1) .. 2**(A - 1) - 1.
        exponents: int32 [..., D], biased exponent field E: 1..30 for FP16, 1..254 for the others.
        sums: int64 [..., D], exact sum S of a group's integers.
        special: bool [...], the vector holds a NaN or an infinity.
        format: number format of the elements.
        activation_bits: width A of an integer, sign included.
    """

    integers: np.ndarray
    exponents: np.ndarray
    sums: np.ndarray
    special: np.ndarray
    format: str
    activation_bits: int

    @property
    def unit_exponents(self) -> np.ndarray:
        """Exponent of an integer's least significant bit, int32 [..., D]."""
        return self.exponents - _LAYOUTS[self.format].bias - (self.activation_bits - 2)


def align(bits: np.ndarray, format: str, group: int, activation_bits: int) -> Aligned:
    """Align vectors of bit patterns.

    Args:
        bits: uint16, of "tf32" uint32, [..., C], C >= 1.
        format: "fp16", "bf16" or "tf32".
        group: elements that share an exponent; the last group of a vector may be shorter.
        activation_bits: width A of an integer, 8..16.

    Raises:
        ValueError: an argument out of its range.
    """
    bits = np.asarray(bits)
    _check(bits, format, group, activation_bits)
    layout = _LAYOUTS[format]
    fields = bits >> layout.fraction_bits & layout.special
    special = fields == layout.special
    fractions = bits & (1 << layout.fraction_bits) - 1
    significands = np.where(fields > 0, fractions | 1 << layout.fraction_bits, fractions).astype(np.int64)
    significands = _grouped(np.where(special, 0, significands), group, 0)
    effective = _grouped(np.where(special, 1, np.maximum(fields, 1)).astype(np.int32), group, 1)

    exponents = effective.max(axis=-1)
    distances = exponents[..., None] - effective
    magnitudes = _divide_to_even(significands << activation_bits - 2, layout.fraction_bits + distances)
    magnitudes = np.minimum(magnitudes, (1 << activation_bits - 1) - 1)
    negative = _grouped(bits >> layout.exponent_bits + layout.fraction_bits, group, 0) == 1
    integers = np.where(negative, -magnitudes, magnitudes)
    flat = integers.reshape(*bits.shape[:-1], -1)[..., : bits.shape[-1]]
    return Aligned(
        integers=flat.astype(np.int32),
        exponents=exponents,
        sums=integers.sum(axis=-1),
        special=special.any(axis=-1),
        format=format,
        activation_bits=activation_bits,
    )


def _check(bits: np.ndarray, format: str, group: int, activation_bits: int) -> None:
    if format not in _LAYOUTS:
        raise ValueError(f"format {format!r} must be one of {', '.join(_LAYOUTS)}")
    kind = np.dtype(np.uint32 if format == "tf32" else np.uint16)
    if bits.dtype != kind or bits.ndim < 1 or bits.shape[-1] < 1:
        raise ValueError(f"bits must be {kind} [..., C >= 1], not {bits.dtype} {list(bits.shape)}")
    if group < 1:
        raise ValueError(f"group {group} must be at least 1")
    if not _MINIMUM_BITS <= activation_bits <= _MAXIMUM_BITS:
        raise ValueError(f"activation_bits {activation_bits} must be {_MINIMUM_BITS}..{_MAXIMUM_BITS}")


def _grouped(elements: np.ndarray, group: int, padding: int) -> np.ndarray:
    """[..., C] to [..., D, group], the last group filled up."""
    missing = -elements.shape[-1] % group
    if missing:
        widths = [(0, 0)] * (elements.ndim - 1) + [(0, missing)]
        elements = np.pad(elements, widths, constant_values=padding)
    return elements.reshape(*elements.shape[:-1], -1, group)


def _divide_to_even(numerators: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """``numerators / 2**shifts`` to the nearest integer, ties to even, for numerators below 2**53."""
    exact = numerators * _POWERS[np.minimum(shifts, _LONGEST_SHIFT)]
    return np.rint(exact).astype(np.int64)
