"""Accumulators against a list of sums."""

import pytest

from hw.config import Config
from hw.pe.accumulators import Accumulators
from sim import runner


def parameters(units: int, count: int) -> tuple[Config, dict[str, object]]:
    config = Config(rows=4, lanes=4, group=32, rescale_units=units, memory_bits=64)
    return config, {"config": config.model_dump(), "count": count}


@pytest.mark.parametrize("units", [1, 4])
def test_accumulators(simulator: str, units: int) -> None:
    config, values = parameters(units, 3000 if simulator == "verilator" else 800)
    runner.run(Accumulators(config), "sim.benches.pe.accumulators", simulator, values)
