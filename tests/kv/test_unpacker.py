"""The KV unpacker against golden codings."""

import pytest

from hw.config import Config, KvConfig
from hw.kv.unpacker import Unpacker
from sim import runner


@pytest.mark.parametrize(
    ("width", "simulator", "pages", "flowing_words", "chosen"),
    [
        # The figure of the README: a word a cycle over 10,000 words of every coding, and of all in turn.
        pytest.param(128, "verilator", 12, 10_000, None, id="throughput", marks=pytest.mark.slow),
        pytest.param(256, "verilator", 3, 300, None, id="wide", marks=pytest.mark.slow),
        pytest.param(64, "verilator", 12, 1_000, None, id="short-verilator"),
        pytest.param(64, "icarus", 4, 1_000, "pages|illegal", id="short-icarus"),
    ],
    indirect=["simulator"],
)
def test_pages(width: int, simulator: str, pages: int, flowing_words: int, chosen: str | None) -> None:
    config = Config(kv=KvConfig(word_bits=width))
    parameters = {"config": config.model_dump(), "pages": pages, "flowing_words": flowing_words}
    runner.run(Unpacker(config), "sim.benches.kv.unpacker", simulator, parameters, chosen)
