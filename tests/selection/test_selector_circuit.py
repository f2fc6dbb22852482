"""Selector against golden: `tiny` on every simulator, words of eight scores on one."""

import pytest

from hw.config import Config, preset
from hw.selection.selector import Selector
from sim import runner


@pytest.mark.parametrize(
    ("config", "simulator", "requests", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 2, "^(?!.*most_tokens)", id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 1, "amount|throughput|bad|kind=[0-3]", id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 1, None, id="edge"),
    ],
    indirect=["simulator"],
)
def test_selections(config: Config, simulator: str, requests: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "requests": requests}
    runner.run(Selector(config), "sim.benches.selection.selector", simulator, parameters, chosen)
