"""The tile that serves attention against golden's products."""

import pytest

from hw.config import Config, preset
from hw.pe.tile import Tile
from sim import runner

BENCH = "sim.benches.attention.tile_routes"
TYPES = ("binary01", "ternary", "int2_asym", "int3_asym", "int4_asym", "int8_asym", "int2", "int4", "int8")


def run(config: Config, simulator: str, products: int, chosen: str | None = None) -> None:
    parameters = {"config": config.model_dump(), "products": products}
    runner.run(Tile(config), BENCH, simulator, parameters, chosen)


def test_edge(simulator: str) -> None:
    """Finer by six bits."""
    config = preset("edge").changed(attention=True, types=TYPES)
    chosen = None if simulator == "verilator" else "steady|exact|stalls=(0|3)"
    run(config, simulator, 10 if simulator == "verilator" else 1, chosen)


@pytest.mark.parametrize(
    "fields",
    [
        {"waiting_groups": 0, "offset_passes": 2, "rescale_units": 1},
        {"maximum_inputs": 128},
        {"activation_lanes": 4},
        {"columns": 2},
    ],
)
def test_other_shapes(fields: dict[str, object]) -> None:
    """No group waits; no vector is as long as 256; a beat a chunk; or two vectors at a time."""
    run(preset("tiny").changed(attention=True, types=TYPES, **fields), "verilator", 4)
