"""Vector unit: the circuit against golden, `tiny` with one lane on every simulator, two and four on one."""

import pytest

from hw.config import Config, CoreConfig, preset
from hw.vector.vector_unit import VectorUnit
from sim import runner

ONE = preset("tiny")
TWO, FOUR = (ONE.changed(core=CoreConfig(lanes=lanes, scratch=1024)) for lanes in (2, 4))


@pytest.mark.parametrize(
    ("config", "simulator", "commands", "chosen"),
    [
        pytest.param(ONE, "verilator", 28, None, id="one-verilator"),
        pytest.param(ONE, "icarus", 7, "stalls=3|pace|refused", id="one-icarus"),
        pytest.param(TWO, "verilator", 14, "stalls=3|pace", id="two"),
        pytest.param(FOUR, "verilator", 28, None, id="four"),
    ],
    indirect=["simulator"],
)
def test_vector_unit(config: Config, simulator: str, commands: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "commands": commands}
    runner.run(VectorUnit(config), "sim.benches.vector.vector_unit", simulator, parameters, chosen)
