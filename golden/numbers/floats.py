"""Bit patterns of floats: FP16, BF16 and FP32 at the borders, TF32 inside the attention engine.

TF32 (NVIDIA's TensorFloat-32) has FP32's exponent and 11 significant bits: 19 bits.
"""

import numpy as np

__all__ = ["EXPONENT_BIAS", "HALF_UNIT", "decode", "encode", "half_parts", "round_tf32"]

EXPONENT_BIAS = {"fp16": 15, "bf16": 127, "tf32": 127, "fp32": 127}
_QUIET_NAN = {"fp16": 0x7E00, "bf16": 0x7FC0, "tf32": 0x3FE00}  # a cast's payload depends on the machine
_DROPPED = {"bf16": 16, "tf32": 13}
"""Bits of FP32 that the formats with its exponent leave away."""
HALF_UNIT = 25
"""A float16 is its mantissa times 2^(exponent field - 25)."""


def encode(x: np.ndarray, fmt: str) -> np.ndarray:
    """Round float32 values to a format, to nearest even.

    Args:
        x: float32, any shape.
        fmt: "fp16", "bf16", "tf32" or "fp32".

    Returns:
        Bit patterns, uint16 or (tf32 and fp32) uint32, in the shape of ``x``. Beyond the largest number they
        are infinite. A NaN becomes the format's quiet one without a sign; those of fp32 stay as they are.

    Raises:
        ValueError: no such format.
    """
    x = np.asarray(x, np.float32)
    if fmt == "fp32":
        return x.view(np.uint32)
    if fmt == "fp16":
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = x.astype(np.float16).view(np.uint16)
    elif fmt in _DROPPED:
        bits, dropped = x.view(np.uint32), _DROPPED[fmt]
        rounded = (bits + ((1 << dropped - 1) - 1) + (bits >> dropped & 1)) >> dropped
    else:
        raise ValueError(f"format {fmt!r} must be one of {', '.join(EXPONENT_BIAS)}")
    kind = np.uint32 if fmt == "tf32" else np.uint16
    return np.where(np.isnan(x), _QUIET_NAN[fmt], rounded).astype(kind)


def decode(bits: np.ndarray, fmt: str) -> np.ndarray:
    """Float32 values of bit patterns, in the shape of ``bits``; exact, and NaN for every pattern of a NaN.

    Args:
        bits: patterns in the low bits of any unsigned integer type.
        fmt: as for ``encode``.

    Raises:
        ValueError: no such format.
    """
    bits = np.asarray(bits)
    if fmt == "fp16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    if fmt == "fp32":
        return bits.astype(np.uint32).view(np.float32)
    if fmt not in _DROPPED:
        raise ValueError(f"format {fmt!r} must be one of {', '.join(EXPONENT_BIAS)}")
    return (bits.astype(np.uint32) << _DROPPED[fmt]).view(np.float32)


def round_tf32(x: np.ndarray) -> np.ndarray:
    """Round products to TF32, to nearest even.

    Args:
        x: float64, zero or of magnitudes 2**-126 to 2**127, any shape.

    Returns:
        float64 numbers of 11 significant bits in the shape of ``x``.
    """
    bits = np.asarray(x, np.float64).view(np.int64)
    dropped = 42  # of float64's 52 fraction bits
    rounded = bits + ((1 << dropped - 1) - 1) + (bits >> dropped & 1) & -1 << dropped
    return rounded.view(np.float64)


def half_parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed mantissas and exponent fields of finite float16 numbers, both int64 in the shape of ``x``.

    A number is ``mantissa * 2**(field - HALF_UNIT)`` with a mantissa below 2^11 and a field of 1 to 30, 1 for
    subnormals and zeros.
    """
    bits = np.asarray(x, np.float16).view(np.uint16).astype(np.int64)
    field = bits >> 10 & 31
    mantissa = (bits & 1023) + 1024 * (field > 0)
    return np.where(bits >> 15, -mantissa, mantissa), np.maximum(field, 1)
