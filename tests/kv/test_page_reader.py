"""Page reader against golden pages on every simulator."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.page_reader import PageReader
from sim import runner

BENCH = "sim.benches.kv.page_reader"
WIDE = Config(kv=KvConfig(word_bits=256, page_tokens=64))


def run(config: Config, simulator: str, pages: int, words: int, test_filter: str | None = None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages, "words": words}
    runner.run(PageReader(config), BENCH, simulator, parameters, test_filter)


def test_tiny(simulator: str) -> None:
    """Icarus, much slower here, gets fewer pages."""
    if simulator == "verilator":
        run(preset("tiny"), simulator, pages=28, words=500)
    else:
        run(preset("tiny"), simulator, 7, 0, "every_format/stalls=3|bad_pages/stalls=0|cycle|trits")


def test_edge() -> None:
    """The figure of the README: 1.000 words a cycle over at least 10,000 words."""
    run(preset("edge"), "verilator", pages=14, words=10_000)


@pytest.mark.slow
def test_wide_words() -> None:
    run(WIDE, "verilator", pages=14, words=500)
