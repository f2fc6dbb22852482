"""Importance: the circuit against golden, `tiny` on every simulator, long pages of two queries on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.selection.importance import Importance
from sim import runner

LONG = preset("tiny").changed(kv=KvConfig(channels=32, queries=2, page_tokens=64))


@pytest.mark.parametrize(
    ("config", "simulator", "lists", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 8, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 2, "stalls=[03]|kind|throughput", id="tiny-icarus"),
        pytest.param(LONG, "icarus", 2, "stalls=3|kind|throughput", id="long_pages"),
    ],
    indirect=["simulator"],
)
def test_importance(config: Config, simulator: str, lists: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "lists": lists}
    runner.run(Importance(config), "sim.benches.selection.importance", simulator, parameters, chosen)
