"""Page reader against golden pages: `tiny` on every simulator, larger ones on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.page_reader import PageReader
from sim import runner

WIDE = Config(memory_bits=512, kv=KvConfig(page_tokens=64))
WIDEST = Config(memory_bits=1024, kv=KvConfig(page_tokens=64))
SOME = "every_format/stalls=3|bad_pages/stalls=0|cycle|trits"
"""For Icarus, much slower here."""

MOST = "every_format/stalls=(0|3)|bad_pages/stalls=0|cycle"
"""For designs that take long to build and to run."""


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "words", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 28, 500, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 7, 0, SOME, id="tiny-icarus"),
        # The figure of the README: 1.000 words a cycle over at least 10,000 words.
        pytest.param(preset("edge"), "verilator", 14, 10_000, MOST, id="edge", marks=pytest.mark.slow),
        pytest.param(WIDE, "verilator", 14, 500, MOST, id="wide_words"),
        pytest.param(WIDEST, "verilator", 14, 500, MOST, id="widest_words", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_pages(config: Config, simulator: str, pages: int, words: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages, "words": words}
    runner.run(PageReader(config), "sim.benches.kv.page_reader", simulator, parameters, chosen)
