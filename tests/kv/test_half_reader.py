"""Half reader: packed pages to float16 against golden, on every simulator."""

from hw.config import preset
from hw.kv.half_reader import HalfReader
from sim import runner


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    config = preset("tiny")
    parameters = {"config": config.model_dump(), "pages": 11 if thorough else 4}
    filtered = None if thorough else "stalls=0|stalls=3"
    runner.run(HalfReader(config), "sim.benches.kv.half_reader", simulator, parameters, filtered)
