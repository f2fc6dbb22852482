"""Read mover: the circuit on every simulator, for several widths of memory."""

import pytest

from hw.config import KvConfig, preset
from hw.core.read_mover import ReadMover
from sim import runner

BENCH = "sim.benches.core.read_mover"
CLIENTS = {"commands": 8, "rows": 16, "weights": 256}


CONFIGURATIONS = {"verilator": ("edge", 256), "icarus": ("tiny", 64)}
"""A preset and a width for each simulator."""


def test_mover(simulator: str) -> None:
    name, memory_bits = CONFIGURATIONS[simulator]
    config = preset(name).changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "clients": CLIENTS, "requests": 4}
    runner.run(ReadMover(config, CLIENTS), BENCH, simulator, parameters)


@pytest.mark.quick
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused() -> None:
    with pytest.raises(ValueError, match="memory_bits 1024 must be at most 512"):
        ReadMover(preset("paper").changed(memory_bits=1024, kv=KvConfig(page_tokens=64)), CLIENTS)
    with pytest.raises(ValueError, match="FIFO of rows has 1 words, must be at least 2"):
        ReadMover(preset("edge"), {"rows": 1})
