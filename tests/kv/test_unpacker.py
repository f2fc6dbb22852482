"""The KV unpacker against golden codings."""

import pytest

from hw.config import Config, preset
from hw.kv.unpacker import Unpacker
from sim import runner


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "flowing_words", "chosen"),
    [
        # The figure of the README: a word a cycle over 10,000 words of every coding, and of all in turn.
        pytest.param(preset("edge"), "verilator", 12, 10_000, None, id="throughput", marks=pytest.mark.slow),
        pytest.param(Config(memory_bits=512), "verilator", 3, 300, None, id="wide", marks=pytest.mark.long),
        pytest.param(preset("tiny"), "verilator", 12, 1_000, None, id="short-verilator"),
        pytest.param(preset("tiny"), "icarus", 4, 1_000, "pages|illegal", id="short-icarus"),
    ],
    indirect=["simulator"],
)
def test_pages(config: Config, simulator: str, pages: int, flowing_words: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages, "flowing_words": flowing_words}
    runner.run(Unpacker(config), "sim.benches.kv.unpacker", simulator, parameters, chosen)
