"""Selectors of BitMoD's pages, chunk after chunk."""

import pytest

from hw.attention.selector_memory import SelectorMemory
from hw.config import Config, KvConfig, preset
from sim import runner

TINY = preset("tiny").model_copy(update={"kv": KvConfig(channels=32, queries=4, bitmod=True)})
EDGE = Config(kv=KvConfig(bitmod=True))
LONG = Config(kv=KvConfig(channels=224, page_tokens=64, bitmod=True))
FEW = Config(rows=4, lanes=4, memory_bits=512, kv=KvConfig(channels=256, bitmod=True))


@pytest.mark.parametrize(
    ("config", "simulator"),
    [
        pytest.param(TINY, "verilator", id="tiny"),
        pytest.param(TINY, "icarus", id="tiny-icarus"),
        pytest.param(EDGE, "verilator", id="edge"),
        pytest.param(LONG, "verilator", id="long"),
        pytest.param(FEW, "verilator", id="few_lanes"),
    ],
    indirect=["simulator"],
)
def test_selector_memory(config: Config, simulator: str) -> None:
    parameters = {"config": config.model_dump(), "pages": 3 if simulator == "verilator" else 1}
    runner.run(SelectorMemory(config), "sim.benches.attention.selector_memory", simulator, parameters)
