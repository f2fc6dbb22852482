"""Mover against golden: `tiny` on every simulator, `edge` on one."""

import pytest

from hw.config import Config, preset
from hw.selection.mover import Mover
from sim import runner


@pytest.mark.parametrize(
    ("config", "simulator", "moves", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 2, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 1, "stalls=[03]", id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 1, "stalls=[03]|exact", id="edge", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_moves(config: Config, simulator: str, moves: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "moves": moves}
    runner.run(Mover(config), "sim.benches.selection.mover", simulator, parameters, chosen)
