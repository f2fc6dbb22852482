"""Half reader: packed pages to float16 against golden, on every simulator."""

import pytest

from hw.config import Config, preset
from hw.kv.half_reader import HalfReader
from sim import runner

SOME = "stalls=0|stalls=3"


def run(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(HalfReader(config), "sim.benches.kv.half_reader", simulator, parameters, chosen)


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    run(preset("tiny"), simulator, 11 if thorough else 4, None if thorough else SOME)


@pytest.mark.slow
def test_edge() -> None:
    run(preset("edge"), "verilator", 4, SOME)
