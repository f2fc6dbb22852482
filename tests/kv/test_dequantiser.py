"""Dequantiser against golden on every simulator."""

from hw.config import Config, KvConfig, preset
from hw.kv.dequantiser import Dequantiser
from sim import runner

BENCH = "sim.benches.kv.dequantiser"
WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64))
SPLIT = Config(kv=KvConfig(word_bits=64, lanes=8, channels=96))
"""A beat of values takes the numbers of two words."""


def run(config: Config, simulator: str, pages: int, test_filter: str | None = None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(Dequantiser(config), BENCH, simulator, parameters, test_filter)


def test_tiny(simulator: str) -> None:
    if simulator == "verilator":
        run(preset("tiny"), simulator, 44)
    else:
        run(preset("tiny"), simulator, 7, "every|throughput|reset")


def test_edge() -> None:
    run(preset("edge"), "verilator", 14)


def test_four_lanes() -> None:
    run(WIDE, "verilator", 6)


def test_eight_lanes_of_short_words() -> None:
    run(SPLIT, "verilator", 6)
