"""Five trits in a byte: the table of the docstring, both directions, and the circuits, every byte."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from golden.numbers import trits
from hw.numbers.trits import TritDecoder, TritEncoder

pytestmark = pytest.mark.quick

COMBINATIONS = list(product(range(3), repeat=trits.TRITS))


def read(byte: int) -> tuple[int, ...] | None:
    """The trits of a byte as the documentation says it, or None."""
    top, upper, lower = byte >> 6, byte >> 3 & 7, byte & 7
    if top < 3:
        return (*pair(lower), *pair(upper), top)
    if upper < 3:
        return (2, 2, *pair(lower), upper)
    if 4 <= upper < 7:
        return (*pair(lower), 2, 2, upper - 4)
    return (2, 2, 2, 2, lower) if upper == 3 and lower < 3 else None


def pair(code: int) -> tuple[int, int]:
    return (code >> 2, 2) if code & 3 == 3 else (code & 3, code >> 2)


def test_table() -> None:
    """Every combination has a byte of its own, and that byte reads as documented."""
    octets = [trits.byte_of(combination) for combination in COMBINATIONS]
    assert len(set(octets)) == 243
    assert trits.byte_of((0,) * 5) == 0
    assert [read(byte) for byte in octets] == COMBINATIONS
    assert {byte for byte in range(256) if trits.is_legal(byte)} == set(octets)
    assert all((read(byte) is not None) == trits.is_legal(byte) for byte in range(256))


def test_arrays(rng: np.random.Generator) -> None:
    values = rng.integers(0, 3, (4, 3, 23), np.uint8)
    packed = trits.pack(values)
    assert packed.shape == (4, 3, 5)
    unpacked = trits.unpack(packed)
    np.testing.assert_array_equal(unpacked[..., :23], values)
    assert not unpacked[..., 23:].any()
    with pytest.raises(ValueError, match=r"^byte 0xff does not stand for five trits$"):
        trits.unpack(np.array([0, 255], np.uint8))
    with pytest.raises(ValueError, match=r"^trits reach 3, must be 0\.\.2$"):
        trits.pack(np.array([0, 3], np.uint8))


def simulate(component: wiring.Component, testbench: Callable) -> None:
    simulator = Simulator(component)
    simulator.add_testbench(testbench)
    simulator.run()


def test_encoder() -> None:
    """All 243 combinations."""
    encoder = TritEncoder()

    async def compare(context) -> None:
        for combination in COMBINATIONS:
            for place, trit in enumerate(combination):
                context.set(encoder.trits[place], trit)
            assert context.get(encoder.octet) == trits.byte_of(combination)

    simulate(encoder, compare)


def test_decoder() -> None:
    """All 256 bytes; trits of illegal ones are within 0..2."""
    decoder = TritDecoder()

    async def compare(context) -> None:
        for byte in range(256):
            context.set(decoder.octet, byte)
            decoded = tuple(context.get(decoder.trits[place]) for place in range(trits.TRITS))
            assert context.get(decoder.illegal) == (read(byte) is None)
            assert max(decoded) <= 2
            if trits.is_legal(byte):
                assert decoded == read(byte)

    simulate(decoder, compare)
