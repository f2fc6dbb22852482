"""Page tile: attention's two products on packed pages, against golden on every simulator."""

import itertools

import pytest

from golden.kv.affine import AXES
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config, ConfigurationError, preset
from hw.kv.array_feed import ArrayFeed
from hw.kv.page_tile import PageTile
from sim import runner
from sim.benches.kv.pages import FORMATS
from synth.model.page_timeline import page_cycles

BENCH = "sim.benches.kv.page_tile"


def run(config: Config, simulator: str, pages: int, test_filter: str | None = None) -> None:
    runner.run(
        PageTile(config), BENCH, simulator, {"config": config.model_dump(), "pages": pages}, test_filter
    )


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    run(preset("tiny"), simulator, 44 if thorough else 4, None if thorough else "stalls=0")


@pytest.mark.slow
def test_edge() -> None:
    run(preset("edge"), "verilator", 33, "stalls=(0|3)|damaged.*apart")


@pytest.mark.slow
def test_eight_rows(eight_rows: Config) -> None:
    run(eight_rows, "verilator", 44, "stalls=3|damaged.*apart")


def test_pace() -> None:
    """Page after page of every format takes the cycles of the performance model."""
    config = preset("tiny")
    tokens, channels = config.kv.page_tokens, config.kv.channels
    periods = []
    for (rule, bits), side, axis in itertools.product(FORMATS, SIDES, AXES):
        form = Format(rule, bits, axis, config.group, 0.5)
        page = PageLayout(form, side, tokens, channels, config.rows, config.lanes)
        periods.append((rule, bits, side, axis, form.group, channels, page_cycles(config, page)))
    parameters = {"config": config.model_dump(), "periods": periods}
    runner.run(PageTile(config), BENCH, "verilator", parameters, "steady_pace")


@pytest.mark.quick
def test_impossible_configurations() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^types must include binary01, int2_asym, .* for keys and values$"
    ):
        ArrayFeed(Config(types=("ternary", "int4_asym")))
