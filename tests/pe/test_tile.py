"""The tile against the golden matrix-vector product."""

import pytest

from hw.config import Config, preset
from hw.pe.tile import Tile
from sim import runner


def test_tiny(simulator: str) -> None:
    config, chosen = preset("tiny"), None if simulator == "verilator" else "stalls=(0|3)|every_error"
    runner.run(Tile(config), "sim.benches.pe.tile", simulator, {"config": config.model_dump()}, chosen)


@pytest.mark.slow
def test_two_columns(two_columns: Config) -> None:
    runner.run(Tile(two_columns), "sim.benches.pe.tile", "verilator", {"config": two_columns.model_dump()})
