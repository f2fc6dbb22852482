"""Signatures against golden: `tiny` on every simulator, words of eight signatures on one."""

import pytest

from hw.config import Config, preset
from hw.systems.signatures import Signatures
from sim import runner

SHORT = "^(?!.*(most_tokens|long_context))"
FEW = "budget|throughput|stalls=[03]|kind=[0-3]"


@pytest.mark.parametrize(
    ("config", "simulator", "requests", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 3, SHORT, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 1, FEW, id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 1, None, id="edge"),
    ],
    indirect=["simulator"],
)
def test_representatives(config: Config, simulator: str, requests: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "requests": requests}
    runner.run(Signatures(config), "sim.benches.systems.signatures", simulator, parameters, chosen)
