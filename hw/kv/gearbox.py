"""How words of trits lie on beats of codes.

A word of W bits has W/8 bytes and thus five granules of W/8 trits, a beat of W codes has eight granules:
eight words are five beats. Both gearboxes move whole granules, and the place of word ``phase`` in this
period of 40 granules says all there is to know about their order.
"""

from typing import NamedTuple

from golden.numbers.trits import TRITS

__all__ = ["GRANULES", "Place", "completes", "places"]

GRANULES = 8
"""Granules of a beat, and words of the period."""


class Place(NamedTuple):
    """Where a granule of a word lies.

    Attributes:
        slot: place of the granule in the word, 0..4.
        granule: place of the granule in its beat, 0..7.
        following: the granule belongs to the beat after the one that the word begins in.
    """

    slot: int
    granule: int
    following: bool


def places(phase: int) -> tuple[Place, ...]:
    """The five granules of word ``phase``, 0..7."""
    start = TRITS * phase
    return tuple(
        Place(slot, (start + slot) % GRANULES, (start + slot) // GRANULES > start // GRANULES)
        for slot in range(TRITS)
    )


def completes(phase: int) -> bool:
    """Whether word ``phase`` holds the last granule of a beat."""
    return TRITS * (phase + 1) // GRANULES > TRITS * phase // GRANULES
