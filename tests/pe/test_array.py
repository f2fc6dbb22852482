"""The array against golden dot products."""

import pytest

from hw.config import Config
from hw.pe.array import Array
from sim import runner

TWO_COLUMNS = Config(rows=4, columns=2, lanes=4, group=32, maximum_inputs=512, memory_bits=64)
WIDE = Config(
    rows=4, lanes=16, group=64, maximum_inputs=1024, activation_bits=16, memory_bits=64, waiting_groups=1
)


def parameters(config: Config) -> dict[str, object]:
    return {"config": config.model_dump()}


def test_array(simulator: str) -> None:
    runner.run(Array(TWO_COLUMNS), "sim.benches.pe.array", simulator, parameters(TWO_COLUMNS))


@pytest.mark.slow
def test_wide_array() -> None:
    runner.run(Array(WIDE), "sim.benches.pe.array", "verilator", parameters(WIDE))
