"""The KV unpacker against golden codings on every simulator."""

import pytest

from hw.config import Config, KvConfig
from hw.kv.unpacker import Unpacker
from sim import runner

BENCH = "sim.benches.kv.unpacker"


def run(width: int, simulator: str, pages: int, flowing_words: int, test_filter: str | None = None) -> None:
    config = Config(kv=KvConfig(word_bits=width))
    parameters = {"config": config.model_dump(), "pages": pages, "flowing_words": flowing_words}
    runner.run(Unpacker(config), BENCH, simulator, parameters, test_filter)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "words"), [(128, 10_000), (256, 1_000)])
def test_pages_and_throughput(width: int, words: int) -> None:
    """The figure of the README: a word a cycle over 10,000 words of every coding, and of all in turn."""
    run(width, "verilator", 12, words)


def test_every_simulator(simulator: str) -> None:
    run(
        64,
        simulator,
        12 if simulator == "verilator" else 4,
        1_000,
        None if simulator == "verilator" else "pages|illegal",
    )
