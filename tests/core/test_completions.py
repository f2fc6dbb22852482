"""Completions: the circuit on every simulator, for words shorter, as long and longer than a record."""

import pytest

from hw.config import preset
from hw.core.completions import Completions
from sim import runner

WIDTHS = {"verilator": (64, 512), "icarus": (128, 256)}


@pytest.mark.parametrize("number", [0, 1])
def test_completions(number: int, simulator: str) -> None:
    memory_bits = WIDTHS[simulator][number]
    config = preset("tiny").changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "records": 40}
    runner.run(Completions(config), "sim.benches.core.completions", simulator, parameters)
