"""Write mover: the circuit on every simulator, for several widths of memory."""

import pytest

from hw.config import KvConfig, preset
from hw.core.write_mover import WriteMover
from sim import runner

BENCH = "sim.benches.core.write_mover"
CLIENTS = ["pages", "results", "completions"]


CONFIGURATIONS = {"verilator": ("edge", 512), "icarus": ("tiny", 64)}
"""A preset and a width for each simulator."""


def test_mover(simulator: str) -> None:
    name, memory_bits = CONFIGURATIONS[simulator]
    config = preset(name).changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "clients": CLIENTS, "writes": 16}
    runner.run(WriteMover(config, CLIENTS), BENCH, simulator, parameters)


@pytest.mark.quick
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused() -> None:
    with pytest.raises(ValueError, match="memory_bits 1024 must be at most 512"):
        WriteMover(preset("paper").changed(memory_bits=1024, kv=KvConfig(page_tokens=64)), CLIENTS)
