"""Completions: the circuit on every simulator, for words shorter, as long and longer than a record."""

import pytest

from hw.config import preset
from hw.core.completions import Completions
from sim import runner


@pytest.mark.parametrize("memory_bits", [64, 128, 256, 512])
def test_completions(memory_bits: int, simulator: str) -> None:
    if simulator == "icarus" and memory_bits not in (64, 256):
        pytest.skip("two widths are enough")
    config = preset("tiny").changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "records": 60}
    runner.run(Completions(config), "sim.benches.core.completions", simulator, parameters)
