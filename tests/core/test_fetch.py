"""Fetch: the circuit on every simulator, for several widths of memory."""

import pytest

from hw.config import Config, preset
from hw.core.fetch import Fetch
from sim import runner

BENCH = "sim.benches.core.fetch"


def run(config: Config, simulator: str, every_bit: bool, **options: str) -> None:
    parameters = {"config": config.model_dump(), "commands": 24, "every_bit": every_bit}
    runner.run(Fetch(config), BENCH, simulator, parameters, **options)


CONFIGURATIONS = {"verilator": ("edge", 256), "icarus": ("tiny", 64)}
"""A preset and a width for each simulator."""


def test_fetch(simulator: str) -> None:
    name, memory_bits = CONFIGURATIONS[simulator]
    run(preset(name).changed(memory_bits=memory_bits), simulator, every_bit=False)


@pytest.mark.slow
def test_every_bit() -> None:
    run(preset("edge").changed(memory_bits=512), "verilator", every_bit=True, test_filter="every_bit")
