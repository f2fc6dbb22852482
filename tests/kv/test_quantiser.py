"""Quantiser against golden: `tiny` on every simulator, larger ones on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.quantiser import Quantiser
from sim import runner

WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64))


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 44, None, id="tiny-verilator"),
        pytest.param(
            preset("tiny"), "icarus", 7, "every_(format|tie)|largest|faults|exact", id="tiny-icarus"
        ),
        pytest.param(preset("edge"), "verilator", 6, None, id="edge", marks=pytest.mark.slow),
        pytest.param(WIDE, "verilator", 6, None, id="four_lanes", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(Quantiser(config), "sim.benches.kv.quantiser", simulator, parameters, chosen)
