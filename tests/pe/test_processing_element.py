"""Processing element against golden dot products."""

import pytest

from hw.config import Config, preset
from hw.pe.processing_element import ProcessingElement
from sim import runner

WIDE = Config(rows=4, lanes=16, group=64, maximum_inputs=1024, activation_bits=16, memory_bits=64)
BENCH = "sim.benches.pe.processing_element"


@pytest.mark.quick
def test_processing_element(simulator: str) -> None:
    config, groups = preset("tiny"), 500 if simulator == "verilator" else 100
    parameters = {"config": config.model_dump(), "groups": groups}
    runner.run(ProcessingElement(config), BENCH, simulator, parameters)


def test_wide_processing_element() -> None:
    parameters = {"config": WIDE.model_dump(), "groups": 100}
    runner.run(ProcessingElement(WIDE), BENCH, "verilator", parameters)
