"""The tile against the golden matrix-vector product."""

from hw.config import Config, preset
from hw.pe.tile import Tile
from sim import runner

TWO_COLUMNS = Config(
    rows=4,
    columns=2,
    lanes=4,
    group=32,
    maximum_inputs=512,
    word_bits=64,
    rescale_units=2,
    activation_lanes=2,
)


def test_tiny(simulator: str) -> None:
    config = preset("tiny")
    runner.run(Tile(config), "sim.benches.tile", simulator, {"config": config.model_dump()})


def test_two_columns() -> None:
    runner.run(Tile(TWO_COLUMNS), "sim.benches.tile", "verilator", {"config": TWO_COLUMNS.model_dump()})
