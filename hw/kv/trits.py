"""Five trits in a byte, both ways, and how words of trits lie on beats of codes; combinational.

A word of W bits has W/8 bytes and thus five granules of W/8 trits, a beat of W codes has eight granules:
eight words are five beats. Both gearboxes move whole granules, and the place of word ``phase`` in this
period of 40 granules says all there is to know about their order.
"""

from collections.abc import Sequence
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.kv.codings import TRITS
from hw.pe.one_hot import choose
from hw.sharing import share

__all__ = [
    "GRANULES",
    "TRIT_BITS",
    "Place",
    "TritDecoder",
    "TritEncoder",
    "completes",
    "places",
    "trit_bytes",
]

GRANULES = 8
"""Granules of a beat, and words of the period."""

TRIT_BITS = 2


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


class TritEncoder(wiring.Component):
    """Five trits to their byte; combinational.

    The two upper trits become a multiple of 27 and the three lower ones a number below it, so that there is
    one wide addition.

    Members:
        trits (in): the first one least significant; 3 gives an undefined byte.
        octet (out): 0..242.
    """

    config = None

    trits: In(data.ArrayLayout(TRIT_BITS, TRITS))
    octet: Out(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ones, threes, nines, *upper = (self.trits[place] for place in range(TRITS))
        multiples: list[Value] = []  # by the last trit
        for last in range(3):
            first = Mux(upper[0][1], 27 * (2 + 3 * last), Mux(upper[0][0], 27 * (1 + 3 * last), 81 * last))
            multiples.append(first)
        low = ones + (Mux(threes[0], 3, 0) | Mux(threes[1], 6, 0))
        low = low[:4] + (Mux(nines[0], 9, 0) | Mux(nines[1], 18, 0))
        multiple = Mux(upper[1][1], multiples[2], Mux(upper[1][0], multiples[1], multiples[0]))
        m.d.comb += self.octet.eq(multiple + low[:5])
        return m


class TritDecoder(wiring.Component):
    """A byte to its five trits; combinational.

    Members:
        octet (in): 0..242, others are illegal.
        trits (out): the first one least significant; some of 0..2 for an illegal byte.
        illegal (out): the byte is above 242.
    """

    config = None

    octet: In(8)
    trits: Out(data.ArrayLayout(TRIT_BITS, TRITS))
    illegal: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte = self.octet
        reached = Signal(9)  # bit k: at least 27 k
        m.d.comb += [reached[k].eq(byte >= 27 * k if k else 1) for k in range(9)]
        exact = reached & ~(reached >> 1)  # bit k: 27 k is taken away
        # 27 k is 32 k - 5 k: five bits hold what remains, 0..26.
        rest = (byte[:5] + choose(exact, [Const(5 * k % 32, 5) for k in range(9)]))[:5]
        trits = [
            *_ternary(rest, 9),
            Cat(exact[1::3].any(), exact[2::3].any()),
            Cat(exact[3:6].any(), reached[6]),
        ]
        m.d.comb += [self.trits[place].eq(trit) for place, trit in enumerate(trits)]
        m.d.comb += self.illegal.eq(byte[4:].all() & (byte[2:4].any() | byte[:2].all()))
        return m


def _ternary(rest: Value, place: int) -> list[Value]:
    """Trits of a number below 3 * place, least significant first."""
    two = rest >= 2 * place
    one = (rest >= place) & ~two
    if place == 3:
        remainder = (rest[:2] + Cat(one, two))[:2]  # less 3 is one more in two bits
        return [Cat(remainder[0] & ~remainder[1], remainder[1]), Cat(one, two)]
    remainder = (rest - (Mux(one, place, 0) | Mux(two, 2 * place, 0)))[: (place - 1).bit_length()]
    return [*_ternary(remainder, place // 3), Cat(one, two)]


def trit_bytes(m: Module, trits: Sequence[Value], name: str) -> Value:
    """The bytes of trits, five each."""
    encoded: list[Value] = []
    for start in range(0, len(trits), TRITS):
        encoder = share(m, f"{name}_{start // TRITS}", TritEncoder())
        m.d.comb += encoder.trits.eq(Cat(*trits[start : start + TRITS]))
        encoded.append(encoder.octet)
    return Cat(encoded)
