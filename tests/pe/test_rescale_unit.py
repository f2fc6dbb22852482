"""Rescale unit against golden contributions."""

import pytest

from hw.config import Config, preset
from hw.pe.rescale_unit import RescaleUnit
from sim import runner

LONG = Config(
    rows=4,
    group=64,
    activation_bits=16,
    accumulator_bits=40,
    types=("int8",),
    memory_bits=64,
    offset_passes=1,
)
FEW_TYPES = Config(rows=4, lanes=4, group=16, activation_bits=8, types=("ternary",), memory_bits=64)
BENCH = "sim.benches.pe.rescale_unit"


def test_rescale_unit(simulator: str) -> None:
    config, count = preset("tiny"), 1500 if simulator == "verilator" else 400
    parameters = {"config": config.model_dump(), "count": count}
    runner.run(RescaleUnit(config), BENCH, simulator, parameters)


@pytest.mark.parametrize("simulator", ["icarus"], indirect=True)
@pytest.mark.parametrize("config", [LONG, FEW_TYPES], ids=["long", "few_types"])
def test_other_widths(simulator: str, config: Config) -> None:
    """On Icarus, whose build does not grow with the multipliers."""
    runner.run(RescaleUnit(config), BENCH, simulator, {"config": config.model_dump(), "count": 400})
