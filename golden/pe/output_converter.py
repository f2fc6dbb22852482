"""Output converter: a fixed-point sum to FP16, BF16 or FP32, rounded once to nearest even.

Underflow is gradual and exact, a value too large becomes infinity (IEEE 754-2019, sections 4.3 and 7).
"""

from typing import NamedTuple

import numpy as np

__all__ = ["FORMATS", "OutputFormat", "convert"]


class OutputFormat(NamedTuple):
    """Significant bits, leading one included, and bits of the exponent field."""

    precision: int
    exponent_bits: int

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << self.exponent_bits - 1) - 1

    @property
    def infinity(self) -> int:
        """Bit pattern of positive infinity."""
        return (1 << self.exponent_bits) - 1 << self.precision - 1

    @property
    def sign_place(self) -> int:
        """Place of the sign bit."""
        return self.precision + self.exponent_bits - 1

    @property
    def nan(self) -> int:
        """Bit pattern of the canonical quiet NaN."""
        return self.infinity | 1 << self.precision - 2


FORMATS = {"fp16": OutputFormat(11, 5), "bf16": OutputFormat(8, 8), "fp32": OutputFormat(24, 8)}

_MOST = 62


def convert(
    values: np.ndarray, exponent: np.ndarray, special: np.ndarray, format: str
) -> tuple[np.ndarray, np.ndarray]:
    """Round ``values * 2**exponent``.

    Args:
        values: int64, magnitudes below 2**60, any shape.
        exponent: int, of a shape that broadcasts with ``values``.
        special: bool; True makes a NaN.
        format: "fp16", "bf16" or "fp32".

    Returns:
        Bit patterns, uint32, in the low bits; and where a finite value became infinite, bool. A zero has no
        sign, a value that rounds to zero keeps its own.

    Raises:
        ValueError: no such format.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")
    form = FORMATS[format]
    values = np.asarray(values, np.int64)
    magnitude = np.abs(values)
    lowest = 2 - form.bias - form.precision
    length = _bit_length(magnitude)
    unit = np.maximum(exponent + length - form.precision, lowest)
    right = unit - exponent
    kept = magnitude >> np.clip(right, 0, _MOST)
    dropped = magnitude - (kept << np.clip(right, 0, _MOST))
    half = (np.int64(1) << np.clip(right, 0, _MOST)) >> 1
    up = (dropped > half) | ((dropped == half) & (kept & 1 == 1))
    significand = (kept << np.clip(-right, 0, form.precision)) + ((right > 0) & up)
    pattern = np.where(magnitude > 0, (unit - lowest << form.precision - 1) + significand, 0)
    overflow = pattern >= form.infinity
    pattern = np.where(overflow, form.infinity, pattern)
    pattern = np.where(special, form.nan, pattern | (values < 0).astype(np.int64) << form.sign_place)
    return pattern.astype(np.uint32), overflow & ~np.asarray(special, bool)


def _bit_length(magnitude: np.ndarray) -> np.ndarray:
    """Bits of a non-negative int64; exact, since values below 2**31 are exact in float64."""
    high, low = magnitude >> 31, magnitude & 0x7FFFFFFF
    return np.where(high > 0, np.frexp(high.astype(np.float64))[1] + 31, np.frexp(low.astype(np.float64))[1])
