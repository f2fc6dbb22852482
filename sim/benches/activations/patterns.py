"""Groups of activations that hold every bit pattern, at every distance from the group's exponent."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from golden.activations.aligner import FORMATS

__all__ = ["OUTCOMES", "can_be", "outcomes", "pattern_groups"]

OUTCOMES = ("exact", "below", "tie below", "tie above", "above", "saturated")
"""Where the integer of a magnitude lies: equal, next below or above, or the largest one."""

_SIGN = 1 << 15
_BEYOND = 3  # distances beyond the width, from where nothing is left of an element


def pattern_groups(format: str, bits: int, group: int) -> NDArray[np.uint16]:
    """Groups [groups, group]: of every distance all elements, then of every exponent some of many distances.

    "All" are those of one exponent with all fractions and both signs, all subnormal ones, half of them
    negative, and all NaN and infinities; each group has one element that lies so far above them. Distances
    go as far as something is left of an element, and a little farther.

    Args:
        format: "fp16" or "bf16".
        bits: of an aligned integer.
        group: elements of a group.
    """
    return np.concatenate([*_every_fraction(format, bits, group), *_every_exponent(format, bits, group)])


def _every_fraction(format: str, bits: int, group: int) -> Iterator[NDArray[np.uint16]]:
    layout = FORMATS[format]
    place = layout.fraction_bits
    magnitudes = np.arange(1 << place)
    both = np.concatenate([magnitudes, magnitudes | _SIGN])
    specials = both | layout.special << place
    for distance in range(bits + _BEYOND):
        top = min(layout.special - 1, bits + distance)
        yield _beside(top << place, both | top - distance << place, group)
        negative = (magnitudes ^ distance) % 3 % 2 == 1
        yield _beside(1 + distance << place, magnitudes | negative * _SIGN, group)
        yield _beside(top << place, specials[distance :: bits + _BEYOND], group)


def _every_exponent(format: str, bits: int, group: int) -> Iterator[NDArray[np.uint16]]:
    layout = FORMATS[format]
    powers = 1 << np.arange(8)
    distances = np.unique([*range(bits + _BEYOND), *powers, *powers + 1, *powers - 1])
    for top in range(layout.special):
        fields = top - distances[distances <= top]
        rest = (fields + top) * 0x9E5 & ~(layout.special << layout.fraction_bits) & 0xFFFF
        yield _beside(top << layout.fraction_bits, rest | fields << layout.fraction_bits, group)


def _beside(largest: int, others: NDArray, group: int) -> NDArray[np.uint16]:
    """Groups of an element of the largest exponent and all others, in an order that turns from row to row."""
    count = -(-len(others) // (group - 1))
    others = np.resize(others, (count, group - 1))
    first = np.full((count, 1), largest) | others[:, :1] & 0x55
    places = (np.arange(group) + np.arange(count)[:, None]) % group
    return np.take_along_axis(np.concatenate([first, others], axis=1).astype(np.uint16), places, axis=1)


def can_be(format: str, bits: int, outcome: str) -> bool:
    """Whether magnitudes of this width have such an outcome; larger integers than the largest need a fraction
    of more bits."""
    return outcome != "saturated" or bits - 2 < FORMATS[format].fraction_bits


def outcomes(groups: NDArray[np.uint16], format: str, bits: int) -> set[tuple[str, bool]]:
    """What alignment does to the elements of groups [groups, group], and whether they are negative."""
    layout = FORMATS[format]
    fields = groups.astype(np.int64) >> layout.fraction_bits & layout.special
    finite = fields != layout.special
    significands = groups & (1 << layout.fraction_bits) - 1 | (fields > 0) * (1 << layout.fraction_bits)
    exponents = np.where(finite, np.maximum(fields, 1), 1)
    shifts = layout.fraction_bits + exponents.max(axis=1, keepdims=True) - exponents
    scaled = significands * 2.0 ** (bits - 2 - shifts)  # exact: 11 bits
    floors = np.floor(scaled)
    rest, odd = scaled - floors, floors % 2 == 1
    limit = (1 << bits - 1) - 1
    saturated = floors + (rest > 0.5) + ((rest == 0.5) & odd) > limit
    masks = (rest == 0, rest < 0.5, (rest == 0.5) & ~odd, (rest == 0.5) & odd, rest > 0.5)
    kinds = np.where(saturated, len(masks), np.select(masks, range(len(masks))))
    pairs = {*zip(kinds[finite].tolist(), (groups[finite] >> 15 == 1).tolist(), strict=True)}
    return {(OUTCOMES[kind], negative) for kind, negative in pairs}
