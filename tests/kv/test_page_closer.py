"""Page closer against golden: `tiny` on every simulator, larger ones on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.page_closer import PageCloser
from sim import runner

WIDE = Config(kv=KvConfig(lanes=4, channels=64), memory_bits=512)


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 4, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 2, "stalls=0|stalls=3|faults|exact", id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 1, "stalls=3", id="edge", marks=pytest.mark.slow),
        pytest.param(WIDE, "verilator", 2, None, id="four_lanes"),
    ],
    indirect=["simulator"],
)
def test_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(PageCloser(config), "sim.benches.kv.page_closer", simulator, parameters, chosen)
