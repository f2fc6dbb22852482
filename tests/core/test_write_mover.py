"""Write mover: the circuit on every simulator, for several widths of memory."""

import pytest

from hw.config import preset
from hw.core.write_mover import WriteMover
from sim import runner

BENCH = "sim.benches.core.write_mover"
CLIENTS = ["pages", "results", "completions"]


@pytest.mark.parametrize(("name", "memory_bits"), [("tiny", 64), ("edge", 512)])
def test_mover(name: str, memory_bits: int, simulator: str) -> None:
    config = preset(name).changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "clients": CLIENTS, "writes": 20}
    runner.run(WriteMover(config, CLIENTS), BENCH, simulator, parameters)


@pytest.mark.quick
def test_refused() -> None:
    with pytest.raises(ValueError, match="at most 512"):
        WriteMover(preset("edge").changed(memory_bits=512).model_copy(update={"memory_bits": 1024}), CLIENTS)
