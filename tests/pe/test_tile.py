"""The tile against the golden matrix-vector product."""

import pytest

from hw.config import Config, preset
from hw.pe.tile import Tile
from sim import runner


def test_tiny(simulator: str) -> None:
    config, chosen = preset("tiny"), None if simulator == "verilator" else "stalls=(0|3)|every_error"
    runner.run(Tile(config), "sim.benches.pe.tile", simulator, {"config": config.model_dump()}, chosen)


@pytest.mark.long
def test_two_columns(two_columns: Config) -> None:
    """Offsets in one pass and a group that waits, so that short groups keep the array busy."""
    config = two_columns.changed(offset_passes=1, waiting_groups=1)
    runner.run(Tile(config), "sim.benches.pe.tile", "verilator", {"config": config.model_dump()})
