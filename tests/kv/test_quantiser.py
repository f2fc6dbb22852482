"""Quantiser against golden on every simulator."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.quantiser import Quantiser
from sim import runner

BENCH = "sim.benches.kv.quantiser"
WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64))


def run(config: Config, simulator: str, pages: int, test_filter: str | None = None) -> None:
    runner.run(
        Quantiser(config), BENCH, simulator, {"config": config.model_dump(), "pages": pages}, test_filter
    )


def test_tiny(simulator: str) -> None:
    run(
        preset("tiny"),
        simulator,
        44 if simulator == "verilator" else 7,
        None if simulator == "verilator" else "every|faults",
    )


@pytest.mark.slow
def test_edge() -> None:
    run(preset("edge"), "verilator", 6)


@pytest.mark.slow
def test_four_lanes() -> None:
    run(WIDE, "verilator", 6)
