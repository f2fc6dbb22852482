"""Folding against golden's products and offset terms."""

import pytest

from hw.attention.folding import Folding
from hw.config import Config, preset
from sim import runner

BENCH = "sim.benches.attention.folding"


def parameters(config: Config, vectors: int) -> dict[str, object]:
    return {"config": config.model_dump(), "vectors": vectors}


def test_folding(simulator: str) -> None:
    edge = preset("edge")
    runner.run(Folding(edge), BENCH, simulator, parameters(edge, 60 if simulator == "verilator" else 10))


@pytest.mark.parametrize(
    "fields",
    [
        {"activation_lanes": 1},
        pytest.param({"activation_lanes": 16}, marks=pytest.mark.long),
        {"columns": 2},
    ],
)
def test_other_shapes(fields: dict[str, int]) -> None:
    config = preset("edge").changed(**fields)
    runner.run(Folding(config), BENCH, "verilator", parameters(config, 12))
