"""Sequence unit against golden on every simulator, for several widths of memory."""

import pytest

from hw.config import preset
from hw.core.sequence_unit import SequenceUnit
from sim import runner

BENCH = "sim.benches.core.sequence_unit"
CONFIGURATIONS = {"verilator": ("edge", 512), "icarus": ("tiny", 64)}
"""A preset and a width for each simulator."""


@pytest.mark.quick
def test_sequence_unit(simulator: str) -> None:
    name, memory_bits = CONFIGURATIONS[simulator]
    config = preset(name).changed(memory_bits=memory_bits)
    runner.run(SequenceUnit(config), BENCH, simulator, {"config": config.model_dump(), "commands": 40})
