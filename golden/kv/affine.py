"""Affine KV quantisation: codes, scale and zero of every group, by one rule of ``golden.kv.rules``.

A group is consecutive channels of one token (axis "token") or consecutive tokens of one channel ("channel").
"""

from collections.abc import Iterator
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.rules import RULES, Rule

__all__ = [
    "AXES",
    "BITS",
    "RULES",
    "Quantized",
    "check_group",
    "dequantize",
    "grouped",
    "is_integer",
    "line",
    "per_group",
    "quantize",
]

AXES = ("token", "channel")
BITS = (1, 2, 3, 4, 8)
_BLOCK = 1 << 18


class Quantized(NamedTuple):
    """Quantised array of T tokens and D channels.

    Attributes:
        codes: uint8 [..., T, D], each in 0..2^bits - 1.
        scale, zero: [..., T, D / group] for axis "token", [..., T / group, D] for "channel"; float16, or
            float32 where the rule keeps that. Without a zero it is all zeros; of BitMoD's types it is the
            number of the group's special value, uint8 (``selector``).
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.floating]
    zero: NDArray

    @property
    def selector(self) -> NDArray:
        """``zero`` by its meaning where the format is one of BitMoD's types."""
        return self.zero


def quantize(
    x: ArrayLike, bits: int, axis: str = "token", group: int | None = 32, rule: str = "native"
) -> Quantized:
    """Quantise keys or values.

    Args:
        x: real [..., T, D], rounded to float16 first; no NaN, and nothing infinite in float16.
        bits: width of a code, one of ``BITS``.
        axis: "token", a group is consecutive channels of one token; or "channel", consecutive tokens of one
            channel.
        group: elements that share a scale, 16..128 and a divisor of the axis' length; None is all of it.
        rule: a name in ``RULES``.

    Raises:
        ValueError: an argument out of range, or a group that the rule's precision cannot hold.
    """
    chosen = _checked(rule, bits)
    with np.errstate(over="ignore"):
        half = np.asarray(x).astype(np.float16, copy=False)
    elements, reduced = grouped(half, axis, group)
    parts = [_encode(elements[rows], reduced, bits, rule, chosen) for rows in _rows(elements)]
    codes, scale, zero = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    scale, zero = (per_group(values, half.shape, axis) for values in (scale, zero))
    return Quantized(codes.reshape(half.shape), scale, zero)


def dequantize(
    codes: NDArray[np.uint8],
    scale: NDArray[np.floating],
    zero: NDArray[np.floating],
    bits: int,
    axis: str = "token",
    group: int | None = 32,
    rule: str = "native",
) -> NDArray[np.floating]:
    """Decode as the rule does, every operation rounded to its precision.

    Returns:
        Values [..., T, D] in the rule's precision; those of ``native`` are exact, in float64, and saturate
        at 65504.

    Raises:
        ValueError: an argument out of range.
    """
    chosen = _checked(rule, bits)
    elements, reduced = grouped(codes, axis, group)
    scales, zeros = (np.expand_dims(per, reduced) for per in _flat(scale, zero, elements, reduced))
    result = np.empty(elements.shape, chosen.works)
    with np.errstate(all="ignore"):
        for rows in _rows(elements):
            own = [array[rows].astype(chosen.works) for array in (elements, scales, zeros)]
            constant = (own[1] == 0) & chosen.has_zero
            result[rows] = np.where(constant, own[2], chosen.decode(*own, bits))
    return result.reshape(codes.shape)


def line(
    scale: NDArray[np.floating], zero: NDArray[np.floating], bits: int, rule: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step and offset, float64, so that a code stands for ``code * step + offset``.

    They are exact products of what is stored, except for rules whose own decoding divides (``kvquant``).
    """
    chosen = _checked(rule, bits)
    wide, shift = scale.astype(np.float64), zero.astype(np.float64)
    constant = (wide == 0) & chosen.has_zero
    step = np.where(constant, 1, wide)
    offset = np.where(constant, shift, chosen.offset(step, shift, bits))
    return np.where(constant, 0, 1 / step if chosen.inverted else step), offset


def grouped(x: NDArray, axis: str, group: int | None) -> tuple[NDArray, int]:
    """View an array [..., T, D] as groups.

    Returns:
        Array [n, D / group, group] for axis "token" or [n, group, D] for "channel", and which of its axes is
        a group's.

    Raises:
        ValueError: no such axis, a shape without elements, or a group that does not fit.
    """
    if axis not in AXES:
        raise ValueError(f"axis {axis!r} must be one of {', '.join(AXES)}")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"shape {x.shape} must be [..., tokens, channels], without an empty axis")
    length = x.shape[-1 if axis == "token" else -2]
    size = length if group is None else group
    check_group(group)
    if length % size:
        raise ValueError(f"{axis} axis of {length} elements must be a multiple of the group {size}")
    if axis == "token":
        return x.reshape(-1, length // size, size), 2
    return x.reshape(-1, size, x.shape[-1]), 1


def is_integer(value: object) -> bool:
    """Whether a value is an integer, which True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_group(group: int | None) -> None:
    """Refuse what is no number of elements of a group.

    Raises:
        ValueError: not None and not an integer 16..128.
    """
    if group is not None and not (is_integer(group) and 16 <= group <= 128):
        raise ValueError(f"group {group} must be 16..128, or None for the whole axis")


def per_group(values: NDArray, shape: tuple[int, ...], axis: str) -> NDArray:
    """Give numbers of groups of an array ``[..., T, D]`` the leading axes of that array.

    Returns ``[..., T, D / group]`` for axis "token", ``[..., T / group, D]`` for "channel".
    """
    return values.reshape((*shape[:-1], -1) if axis == "token" else (*shape[:-2], -1, shape[-1]))


def _checked(rule: str, bits: int) -> Rule:
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} must be one of {', '.join(RULES)}")
    if not is_integer(bits) or bits not in BITS:
        raise ValueError(f"bits {bits} must be one of {', '.join(map(str, BITS))}")
    if bits < RULES[rule].least_bits:
        raise ValueError(f"bits {bits} of rule {rule!r} must be at least {RULES[rule].least_bits}")
    return RULES[rule]


def _rows(elements: NDArray) -> Iterator[slice]:
    """Blocks that stay in a cache."""
    step = max(_BLOCK // (elements.shape[1] * elements.shape[2]), 1)
    for first in range(0, len(elements), step):
        yield slice(first, first + step)


def _flat(scale: NDArray, zero: NDArray, elements: NDArray, reduced: int) -> tuple[NDArray, NDArray]:
    kept = [size for place, size in enumerate(elements.shape) if place != reduced]
    return scale.reshape(kept), zero.reshape(kept)


def _encode(
    x: NDArray[np.float16], reduced: int, bits: int, name: str, rule: Rule
) -> tuple[NDArray[np.uint8], NDArray, NDArray]:
    """Quantise groups that ``grouped`` made."""
    wide = x.astype(np.float32)
    low, high = wide.min(reduced, keepdims=True), wide.max(reduced, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("elements must be finite in float16: no NaN, magnitudes up to 65504")
    low += 0.0  # turns -0 into 0
    with np.errstate(all="ignore"):
        extremes = (bound.astype(rule.works) for bound in (low, high))
        codes, scale, zero = rule.encode(x.astype(rule.works, copy=False), *extremes, bits)
        scale, zero = scale.astype(rule.kept), zero.astype(rule.kept)
        constant = ((low == high) | (scale == 0)) & rule.has_zero
        if not (np.isfinite(scale) & np.isfinite(zero) | constant).all():
            raise ValueError(
                f"rule {name!r} overflows: a group's range or zero is too large for its precision"
            )
        codes = np.where(constant, 0, np.clip(codes, 0, (1 << bits) - 1)).astype(np.uint8)
    scale = np.where(constant, rule.kept(0), scale)
    zero = np.where(constant, low.astype(rule.kept), zero)
    return codes, np.squeeze(scale, reduced), np.squeeze(zero, reduced)
