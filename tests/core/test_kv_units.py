"""KV units of the core against golden, byte for byte: whole sequences, stalls, faults."""

import pytest

from hw.config import Config, preset
from hw.core.kv_units import KvUnits
from sim import runner
from sim.runner import Design

TINY = preset("tiny").changed(attention=True)
EDGE = preset("edge").changed(attention=True, core={"lanes": 4})
LONG = TINY.changed(
    rows=8,
    lanes=8,
    memory_bits=128,
    kv={"lanes": 4, "channels": 96, "page_tokens": 64, "queries": 2},
    core={"lanes": 2, "scratch": 1008},
)
WIDE = EDGE.changed(memory_bits=512, kv={"lanes": 8, "channels": 64, "queries": 2}, core={"lanes": 1})
BENCHES = ("kv_units", "kv_faults")


@pytest.mark.parametrize("bench", BENCHES)
@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        pytest.param(TINY, 40, id="tiny"),
        pytest.param(EDGE, 36, id="edge", marks=pytest.mark.slow),
        pytest.param(LONG, 68, id="long", marks=pytest.mark.slow),
        pytest.param(WIDE, 36, id="wide", marks=pytest.mark.slow),
    ],
)
def test_kv_units(config: Config, tokens: int, bench: str) -> None:
    parameters = {"config": config.model_dump(), "tokens": tokens}
    design = Design.of_type(KvUnits, config)
    runner.run(design, f"sim.benches.core.{bench}", "verilator", parameters)
