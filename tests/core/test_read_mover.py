"""Read mover: the circuit on every simulator, for every width of memory."""

import pytest

from hw.config import preset
from hw.core.read_mover import ReadMover
from sim import runner

BENCH = "sim.benches.core.read_mover"
CLIENTS = {"commands": 8, "rows": 16, "weights": 256}


@pytest.mark.parametrize(("name", "memory_bits"), [("tiny", 64), ("edge", 256)])
def test_mover(name: str, memory_bits: int, simulator: str) -> None:
    config = preset(name).changed(memory_bits=memory_bits)
    parameters = {"config": config.model_dump(), "clients": CLIENTS, "requests": 8}
    runner.run(ReadMover(config, CLIENTS), BENCH, simulator, parameters)


@pytest.mark.quick
@pytest.mark.parametrize(("memory_bits", "clients"), [(1024, {"a": 16}), (256, {"a": 1})])
def test_refused(memory_bits: int, clients: dict[str, int]) -> None:
    config = preset("edge").changed(memory_bits=memory_bits) if memory_bits <= 512 else preset("paper")
    with pytest.raises(ValueError, match="at "):
        ReadMover(config.changed(memory_bits=memory_bits), clients)
