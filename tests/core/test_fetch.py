"""Fetch: the circuit on every simulator, for several widths of memory."""

import pytest

from hw.config import Config, preset
from hw.core.fetch import Fetch
from sim import runner

BENCH = "sim.benches.core.fetch"


def run(config: Config, simulator: str, every_bit: bool, **options: str) -> None:
    parameters = {"config": config.model_dump(), "commands": 60, "every_bit": every_bit}
    runner.run(Fetch(config), BENCH, simulator, parameters, **options)


@pytest.mark.parametrize(("name", "memory_bits"), [("tiny", 64), ("edge", 512)])
def test_fetch(name: str, memory_bits: int, simulator: str) -> None:
    run(preset(name).changed(memory_bits=memory_bits), simulator, every_bit=False)


@pytest.mark.slow
def test_every_bit() -> None:
    run(preset("edge"), "verilator", every_bit=True, test_filter="every_bit")
