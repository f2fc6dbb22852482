"""Codings of KV codes: golden on its own, and the circuits of five trits against it, every byte."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.kv import codings
from hw.kv.payloads import Coding
from hw.kv.trits import GRANULES, TritDecoder, TritEncoder, completes, places

LEGAL = 3**codings.TRITS


@pytest.mark.quick
@pytest.mark.parametrize("coding", codings.CODINGS, ids=lambda coding: coding.name)
def test_pack_and_unpack(coding: codings.Coding, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 3 if coding.trits else 1 << coding.bits, (3, 256), np.uint8)
    packed = codings.pack(codes, coding)
    assert packed.shape == (3, coding.length(256))
    assert np.array_equal(codings.unpack(packed, coding, 256), codes)


@pytest.mark.quick
def test_bits_of_a_byte() -> None:
    """The first code is lowest; trits are base-3 digits, the first one least significant."""
    assert codings.pack(np.array([1, 0, 3, 2], np.uint8), codings.of_width(2)).tolist() == [0b10_11_00_01]
    assert codings.pack(np.array([5, 2, 1], np.uint8), codings.of_width(3)).tolist() == [0b01_010_101, 0]
    assert codings.pack(np.array([2, 1, 0, 0, 2, 1], np.uint8), codings.get("trits")).tolist() == [
        2 + 3 + 2 * 81,
        1,
    ]


@pytest.mark.quick
def test_numbers_of_the_enumeration() -> None:
    assert [coding.name.lower() for coding in Coding] == [coding.name for coding in codings.CODINGS]
    assert [coding.value for coding in Coding] == list(range(len(codings.CODINGS)))


def trits_of(byte: int) -> list[int]:
    return codings.unpack(np.array([byte], np.uint8), codings.get("trits"), codings.TRITS).tolist()


@pytest.mark.quick
def test_trit_encoder() -> None:
    """All 243 combinations."""
    encoder = TritEncoder()

    async def compare(context) -> None:
        for byte in range(LEGAL):
            for place, trit in enumerate(trits_of(byte)):
                context.set(encoder.trits[place], trit)
            assert context.get(encoder.octet) == byte

    simulate(encoder, compare)


@pytest.mark.quick
def test_trit_decoder() -> None:
    """All 256 bytes; trits of illegal ones are within 0..2."""
    decoder = TritDecoder()

    async def compare(context) -> None:
        for byte in range(256):
            context.set(decoder.octet, byte)
            trits = [context.get(decoder.trits[place]) for place in range(codings.TRITS)]
            assert context.get(decoder.illegal) == (byte >= LEGAL)
            assert max(trits) <= 2
            if byte < LEGAL:
                assert trits == trits_of(byte)

    simulate(decoder, compare)


@pytest.mark.quick
def test_places_of_granules() -> None:
    """Eight words are five beats, granule after granule."""
    beat = 0
    seen = []
    for phase in range(GRANULES):
        seen += [(beat + place.following, place.granule) for place in places(phase)]
        beat += completes(phase)
    assert seen == [(number // GRANULES, number % GRANULES) for number in range(codings.TRITS * GRANULES)]
    assert beat == codings.TRITS


def simulate(component, testbench) -> None:
    simulator = Simulator(component)
    simulator.add_testbench(testbench)
    simulator.run()
