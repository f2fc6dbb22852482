"""Dequantiser against golden: `tiny` on every simulator, larger ones on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.dequantiser import Dequantiser
from sim import runner

WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64))
SHORT = Config(memory_bits=128, kv=KvConfig(lanes=8, channels=96))
"""A beat of values can take all numbers of a word."""


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 44, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 7, "every|throughput|reset", id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 14, None, id="edge"),
        pytest.param(WIDE, "verilator", 6, None, id="four_lanes"),
        pytest.param(SHORT, "verilator", 6, None, id="eight_lanes_of_short_words"),
    ],
    indirect=["simulator"],
)
def test_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(Dequantiser(config), "sim.benches.kv.dequantiser", simulator, parameters, chosen)
