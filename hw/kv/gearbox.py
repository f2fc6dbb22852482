"""What packers and unpacker have in common: the phase of a coding, and how words of trits lie on beats.

Words of b-bit codes lie on beats of codes with a period of a few words or beats, which each of these blocks
counts; what it does follows from the coding and from the phase.

A word of W bits has W/8 bytes and thus five granules of W/8 trits, a beat of W codes has eight granules:
eight words are five beats. Packer and unpacker move whole granules, and the place of word ``phase`` in this
period of 40 granules says all there is to know about their order.
"""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value, ValueLike

from golden.numbers.trits import TRITS
from hw.kv.formats import DENSE_BITS
from hw.kv.payloads import CODE_BITS, Coding

__all__ = ["GRANULES", "CodingPhase", "Place", "completes", "places"]

GRANULES = 8
"""Granules of a beat, and words of the period."""


class CodingPhase:
    """The coding at the input and the phase of its period, as lines to choose by.

    Args:
        m: module that gets the logic; it counts ``phase``.
        coding: of the beat or word at the input.
        flush: the rest of a page of trits is due, whatever is at the input.

    Attributes:
        phase: 0..7, a register.
        at: bit n: the phase is n.
        dense: bit b: dense codes of b bits.
        trits: trits.
    """

    def __init__(self, m: Module, coding: Value, flush: ValueLike = 0) -> None:
        self.phase = Signal(range(GRANULES))
        self.at = Signal(GRANULES)
        self.dense = Signal(CODE_BITS + 1)
        self.trits = Signal()
        flush = Value.cast(flush)
        m.d.comb += [self.at[number].eq(self.phase == number) for number in range(GRANULES)]
        m.d.comb += [self.dense[bits].eq(~flush & (coding == case)) for case, bits in DENSE_BITS.items()]
        m.d.comb += self.trits.eq(flush | (coding == Coding.TRITS))

    def when(self, wanted: Callable[[int], bool]) -> Value:
        """Whether the phase is one that is wanted."""
        return Cat(line for phase, line in enumerate(self.at) if wanted(phase)).any()

    def ends(self, last: Callable[[int], int]) -> Value:
        """Whether a period of dense codes ends, that of b bits with phase ``last(b)``."""
        ends = {bits: last(bits) for bits in DENSE_BITS.values()}
        return Cat(
            self.dense[bits] & self.at[phase] if phase else self.dense[bits] for bits, phase in ends.items()
        ).any()


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
