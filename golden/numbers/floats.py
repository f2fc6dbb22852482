"""Bit patterns of the float formats at the borders: FP16, BF16 and FP32."""

import numpy as np

__all__ = ["EXPONENT_BIAS", "decode", "encode"]

EXPONENT_BIAS = {"fp16": 15, "bf16": 127, "fp32": 127}


def encode(x: np.ndarray, fmt: str) -> np.ndarray:
    """Round float32 values to a format, to nearest even.

    Args:
        x: float32, any shape.
        fmt: "fp16", "bf16" or "fp32".

    Returns:
        Bit patterns, uint16 or (fp32) uint32.

    Raises:
        ValueError: no such format.
    """
    x = np.ascontiguousarray(x, np.float32)
    if fmt == "fp16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).view(np.uint16)
    if fmt == "fp32":
        return x.view(np.uint32)
    if fmt != "bf16":
        raise ValueError(f"format {fmt!r} must be one of {', '.join(EXPONENT_BIAS)}")
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)


def decode(bits: np.ndarray, fmt: str) -> np.ndarray:
    """Float32 values of bit patterns; exact.

    Args:
        bits: patterns in the low bits of any unsigned integer type.
        fmt: as for ``encode``.
    """
    bits = np.asarray(bits)
    if fmt == "fp16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    if fmt == "fp32":
        return bits.astype(np.uint32).view(np.float32)
    if fmt != "bf16":
        raise ValueError(f"format {fmt!r} must be one of {', '.join(EXPONENT_BIAS)}")
    return (bits.astype(np.uint32) << 16).view(np.float32)
