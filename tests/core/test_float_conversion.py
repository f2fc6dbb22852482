"""Conversions of floats as logic, against golden: every float16, and float32 of every kind."""

from collections.abc import Callable

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.sim import Simulator

from golden.numbers import floats
from hw.core.float_conversion import single_of_half, tf32_of_single

pytestmark = pytest.mark.quick

SPECIAL = [0, 1, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0x7F7FFFFF, 0x3F801000, 0x3F803000]


def converted(logic: Callable[[Value], Value], width: int, numbers: np.ndarray) -> list[int]:
    """What the logic makes of bit patterns."""
    m = Module()
    given = Signal(width)
    made = Signal(32)
    m.d.comb += made.eq(logic(given))
    found = []

    async def bench(ctx) -> None:
        for number in numbers.tolist():
            ctx.set(given, number)
            found.append(ctx.get(made))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def test_every_half(rng: np.random.Generator) -> None:
    """All exponents and signs with the ends and random places of the fraction."""
    places = [0, 1, 2, 511, 512, 1022, 1023, *rng.integers(0, 1024, 60).tolist()]
    halves = np.array([high << 10 | low for high in range(64) for low in places], np.uint16)
    singles = floats.decode(halves, "fp16")
    expected = np.where(np.isnan(singles), 0x7FC00000, singles.view(np.uint32))
    assert converted(single_of_half, 16, halves) == expected.tolist()


def test_tf32(rng: np.random.Generator) -> None:
    """Random patterns, ties and the neighbours of ties."""
    random = rng.integers(0, 1 << 32, 2000).astype(np.uint32)
    ties = (random >> 13 << 13) | 1 << 12
    numbers = np.concatenate([random, ties, ties - 1, ties + 1, np.array(SPECIAL, np.uint32)])
    expected = floats.encode(numbers.view(np.float32), "tf32")
    assert converted(tf32_of_single, 32, numbers) == expected.tolist()
