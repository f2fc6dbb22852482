"""KV units of the core against golden, byte for byte: whole sequences, stalls, faults."""

import pytest

from hw.config import Config, preset
from hw.core.kv_units import KvUnits
from sim import runner
from sim.runner import Design

TINY = preset("tiny").changed(attention=True)
BENCHES = ("kv_units", "kv_faults")


@pytest.mark.parametrize("bench", BENCHES)
@pytest.mark.parametrize(
    ("config", "tokens"),
    [pytest.param(TINY, 40, id="tiny")],
)
def test_kv_units(config: Config, tokens: int, bench: str) -> None:
    parameters = {"config": config.model_dump(), "tokens": tokens}
    design = Design.of_type(KvUnits, config)
    runner.run(design, f"sim.benches.core.{bench}", "verilator", parameters)
