"""KV units of the core against golden: whole sequences, byte for byte."""

import pytest

from hw.config import Config, preset
from hw.core.kv_units import KvUnits
from sim import runner

TINY = preset("tiny").changed(attention=True)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [pytest.param(TINY, 72, id="tiny")],
)
def test_kv_units(config: Config, tokens: int) -> None:
    parameters = {"config": config.model_dump(), "tokens": tokens}
    runner.run(KvUnits(config), "sim.benches.core.kv_units", "verilator", parameters)
