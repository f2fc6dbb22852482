"""The KV unpacker against golden codings on every simulator."""

import pytest

from hw.config import Config
from hw.kv.config import KvConfig
from hw.kv.unpacker import Unpacker
from sim import runner

BENCH = "sim.benches.kv.unpacker"


def run(width: int, simulator: str, pages: int, flowing_words: int, test_filter: str | None = None) -> None:
    config = Config(kv=KvConfig(word_bits=width))
    parameters = {"config": config.model_dump(), "pages": pages, "flowing_words": flowing_words}
    runner.run(Unpacker(config), BENCH, simulator, parameters, test_filter)


@pytest.mark.parametrize("width", [128, 256])
def test_pages(width: int) -> None:
    run(width, "verilator", 12, 100)


def test_every_simulator(simulator: str) -> None:
    run(
        64,
        simulator,
        12 if simulator == "verilator" else 4,
        100,
        None if simulator == "verilator" else "pages|illegal",
    )


@pytest.mark.parametrize("width", [64, 128, 256])
def test_throughput(width: int) -> None:
    """A word a cycle over 10,000 words, for every coding and for all of them in turn."""
    run(width, "verilator", 2, 10_000, "full_throughput")
