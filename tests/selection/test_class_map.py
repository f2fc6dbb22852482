"""Class map against golden: `tiny` on every simulator."""

import pytest

from hw.config import Config, preset
from hw.selection.class_map import ClassMap
from sim import runner


@pytest.mark.parametrize(
    ("config", "simulator", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", "stalls=[03]|throughput", id="tiny-icarus"),
    ],
    indirect=["simulator"],
)
def test_map(config: Config, simulator: str, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "moves": 1}
    runner.run(ClassMap(config), "sim.benches.selection.class_map", simulator, parameters, chosen)
