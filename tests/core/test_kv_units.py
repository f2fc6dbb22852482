"""KV units of the core against golden, byte for byte: whole sequences, stalls, faults."""

import pytest

from hw.config import Config, preset
from sim import runner
from sim.benches.core.kv_design import KvUnits
from sim.runner import Design

TINY = preset("tiny").changed(attention=True)
EDGE = preset("edge").changed(attention=True, core={"lanes": 4})
WIDE = EDGE.changed(memory_bits=512, kv={"lanes": 8, "channels": 64, "queries": 2}, core={"lanes": 1})


@pytest.mark.parametrize("bench", ["kv_units", "kv_faults"])
def test_tiny(bench: str) -> None:
    run(TINY, bench, 34)


@pytest.mark.long
@pytest.mark.parametrize(
    ("config", "tokens"), [pytest.param(EDGE, 3, id="edge"), pytest.param(WIDE, 36, id="wide")]
)
def test_others(config: Config, tokens: int) -> None:
    """Other widths of memory, scratch memory and streams; records that share a word or take several."""
    run(config, "kv_units", tokens, "whole|stalls=3|float")


def run(config: Config, bench: str, tokens: int, chosen: str | None = None) -> None:
    parameters = {"config": config.model_dump(), "tokens": tokens}
    design = Design.of_type(KvUnits, config)
    runner.run(design, f"sim.benches.core.{bench}", "verilator", parameters, chosen)
