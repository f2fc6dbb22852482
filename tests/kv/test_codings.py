"""Codings of KV codes: golden on its own, and how words lie on beats."""

import numpy as np
import pytest

from golden.kv import codings
from golden.numbers.trits import TRITS, byte_of
from hw.kv.gearbox import GRANULES, completes, places
from hw.kv.payloads import Coding


@pytest.mark.quick
@pytest.mark.parametrize("coding", codings.CODINGS, ids=lambda coding: coding.name)
def test_pack_and_unpack(coding: codings.Coding, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 3 if coding.trits else 1 << coding.bits, (3, 256), np.uint8)
    packed = codings.pack(codes, coding)
    assert packed.shape == (3, coding.length(256))
    assert np.array_equal(codings.unpack(packed, coding, 256), codes)


@pytest.mark.quick
def test_bits_of_a_byte() -> None:
    """The first code is lowest."""
    assert codings.pack(np.array([1, 0, 3, 2], np.uint8), codings.of_width(2)).tolist() == [0b10_11_00_01]
    assert codings.pack(np.array([5, 2, 1], np.uint8), codings.of_width(3)).tolist() == [0b01_010_101, 0]
    assert codings.pack(np.array([2, 1, 0, 0, 2, 1], np.uint8), codings.get("trits")).tolist() == [
        byte_of((2, 1, 0, 0, 2)),
        byte_of((1, 0, 0, 0, 0)),
    ]


@pytest.mark.quick
def test_numbers_of_the_enumeration() -> None:
    assert [coding.name.lower() for coding in Coding] == [coding.name for coding in codings.CODINGS]
    assert [coding.value for coding in Coding] == list(range(len(codings.CODINGS)))


@pytest.mark.quick
def test_places_of_granules() -> None:
    """Eight words are five beats, granule after granule."""
    beat = 0
    seen = []
    for phase in range(GRANULES):
        seen += [(beat + place.following, place.granule) for place in places(phase)]
        beat += completes(phase)
    assert seen == [(number // GRANULES, number % GRANULES) for number in range(TRITS * GRANULES)]
    assert beat == TRITS
