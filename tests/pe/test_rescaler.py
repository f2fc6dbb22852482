"""Rescaler against golden sums and conversions."""

import pytest

from hw.config import Config
from hw.pe.rescaler import Rescaler
from sim import runner

BENCH = "sim.benches.pe.rescaler"
TYPES = ("int3_asym", "int8", "bitmod4", "ternary")


def config(**fields: object) -> Config:
    """A few rows, few and different types."""
    small: dict[str, object] = {"rows": 4, "lanes": 4, "group": 32, "maximum_inputs": 512, "memory_bits": 64}
    return Config.model_validate(small | {"types": TYPES} | fields)


def test_rescaler(simulator: str) -> None:
    two = config(columns=2, rescale_units=2)
    parameters = {"config": two.model_dump(), "blocks": 16 if simulator == "verilator" else 4}
    runner.run(Rescaler(two), BENCH, simulator, parameters)


@pytest.mark.parametrize("units", [1, 4])
def test_other_shares(units: int) -> None:
    """One unit for all rows, and one unit a row, which takes offsets in one pass."""
    passes = 1 if units == 4 else 2
    other = config(rescale_units=units, accumulator_bits=24 + 4 * units, offset_passes=passes)
    parameters = {"config": other.model_dump(), "blocks": 12}
    runner.run(Rescaler(other), BENCH, "verilator", parameters)
